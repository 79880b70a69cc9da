"""What credentials of GetSessionToken cannot do.

AWS (STS API Reference, GetSessionToken): without MFA in them they can call no IAM operation; with or without, of STS
only AssumeRole and GetCallerIdentity.
"""

from ministack.services import sts

from . import authorization


def _refusal(access_key_id: str, action: str) -> str | None:
    session = sts._sessions.get(access_key_id)
    if session is None or session.get("PrincipalType") != "User":
        return None
    service, _, operation = action.partition(":")
    if service == "iam" and "MfaAt" not in session:
        return "session credentials without MFA"
    if service == "sts" and operation not in ("AssumeRole", "GetCallerIdentity", "SetSourceIdentity"):
        return "session credentials"
    return None


def apply() -> None:
    authorization.refuses(_refusal)
