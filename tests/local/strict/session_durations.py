"""How long a session may last.

AWS (STS API Reference, AssumeRole): DurationSeconds is from 900 to the role's maximum session duration, and more is
an error; a session made by role chaining lasts one hour at most, and asking for more is an error. GetSessionToken:
from 900 to 129,600. Credentials of GetSessionToken count as chaining too.
"""

from ministack.core.router import extract_access_key_id
from ministack.services import iam, sts

from . import query_protocol

_LIMITS = {"AssumeRole": (900, 43200), "GetSessionToken": (900, 129600)}
_CHAINED = 3600


def _refusal(action: str, parameters: dict, caller_key: str) -> query_protocol.Response | None:
    asked = parameters.get("DurationSeconds")
    if asked is None:
        return None
    try:
        seconds = int(asked)
    except ValueError:
        return query_protocol.validation_error(asked, "durationSeconds", "Member must be an integer", "sts")
    low, high = _LIMITS[action]
    if seconds < low:
        constraint = f"Member must have value greater than or equal to {low}"
        return query_protocol.validation_error(seconds, "durationSeconds", constraint, "sts")
    if seconds > high:
        constraint = f"Member must have value less than or equal to {high}"
        return query_protocol.validation_error(seconds, "durationSeconds", constraint, "sts")
    if action != "AssumeRole":
        return None
    role_arn = str(parameters.get("RoleArn", ""))
    account = role_arn.split(":")[4] if role_arn.count(":") >= 5 else ""
    role = iam._roles.get_scoped(account, None, role_arn.rpartition("/")[2]) if account else None
    message = None
    if role and seconds > int(role.get("MaxSessionDuration") or 3600):
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    elif role and seconds > _CHAINED and caller_key in sts._sessions:
        message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    return query_protocol.error(400, "ValidationError", message, "sts") if message else None


def apply() -> None:
    handle_request = sts.handle_request

    async def handle(method, path, headers, body, query_params):
        parameters = query_protocol.parameters(headers, body, query_params)
        action = parameters.get("Action")
        if action in _LIMITS:
            refusal = _refusal(action, parameters, extract_access_key_id(headers, query_params) or "")
            if refusal:
                return refusal
        return await handle_request(method, path, headers, body, query_params)

    sts.handle_request = handle
