"""What credentials of GetSessionToken cannot do.

AWS (STS API Reference, GetSessionToken): without MFA in them they can call no IAM operation, and of STS only
AssumeRole and GetCallerIdentity. (MFA comes with the policy issue; until then no session here carries it.)
"""

from ministack.services import sts

from . import authorization


def _refusal(access_key_id: str, action: str) -> str | None:
    session = sts._sessions.get(access_key_id)
    if session is None or session.get("PrincipalType") != "User":
        return None
    service, _, operation = action.partition(":")
    if service == "iam" or (service == "sts" and operation not in ("AssumeRole", "GetCallerIdentity", "SetSourceIdentity")):
        return "session credentials without MFA"
    return None


def apply() -> None:
    authorization.refuses(_refusal)
