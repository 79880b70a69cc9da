"""IAM operations on the caller's own user, and how many keys a user has.

AWS (IAM API Reference, CreateAccessKey, ListAccessKeys, UpdateAccessKey, DeleteAccessKey, ListMFADevices, GetUser):
without a UserName the user is the one whose key signs the request, and the request is decided on that user's ARN. A key
is updated and deleted only as its own user's. (IAM User Guide, `reference_iam-quotas`): a user has two access keys at
most. Plain MiniStack takes a user called `default`, and gives any number of keys.
"""

import contextvars

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.core.router import extract_access_key_id
from ministack.services import iam

from . import query_protocol

_OPERATIONS = ("CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey", "ListMFADevices", "GetUser")
_KEYS_OF_A_USER = 2

_caller: contextvars.ContextVar[str] = contextvars.ContextVar("strict_own_user", default="")


def _user_behind(headers: dict, query_params: dict) -> str:
    """Name of the user whose key, or whose session, signs the request; or the empty string."""
    credential = iam_evaluator.resolve_credential(extract_access_key_id(headers, query_params) or "", get_account_id())
    return credential.principal_name if getattr(credential, "principal_type", "") == "User" else ""


def _limited(operation: str, parameters: dict, original) -> query_protocol.Response:
    user = iam._p(parameters, "UserName") or _caller.get()
    if user and not iam._p(parameters, "UserName"):
        parameters = {**parameters, "UserName": [user]}
    keys = [key for key, record in iam._access_keys.items() if record["UserName"] == user]
    if operation == "CreateAccessKey" and len(keys) >= _KEYS_OF_A_USER:
        message = f"Cannot exceed quota for AccessKeysPerUser: {_KEYS_OF_A_USER}"
        return query_protocol.error(409, "LimitExceeded", message, "iam")
    named = iam._p(parameters, "AccessKeyId")
    if operation in ("UpdateAccessKey", "DeleteAccessKey") and named not in keys:
        return query_protocol.error(404, "NoSuchEntity", f"The Access Key with id {named} cannot be found.", "iam")
    return original(parameters)


def apply() -> None:
    for operation in _OPERATIONS:

        def handler(parameters, original=iam._IAM_HANDLERS[operation], operation=operation):
            return _limited(operation, parameters, original)

        iam._IAM_HANDLERS[operation] = handler

    extract_resource_arn = iam_actions.extract_resource_arn
    handle_request = iam.handle_request

    def with_own_user(service, method, path, headers, body, query_params, region, account_id):
        if service == "iam":
            action = iam_actions.extract_iam_action(service, method, path, headers, body, query_params) or ""
            if action.partition(":")[2] in _OPERATIONS and not iam_actions._query_param(query_params, "UserName"):
                user = iam._users.get_scoped(account_id, None, _user_behind(headers, query_params)) or {}
                if user:
                    return user["Arn"]
        return extract_resource_arn(service, method, path, headers, body, query_params, region, account_id)

    async def handle(method, path, headers, body, query_params):
        token = _caller.set(_user_behind(headers, query_params))
        try:
            return await handle_request(method, path, headers, body, query_params)
        finally:
            _caller.reset(token)

    iam_actions.extract_resource_arn = with_own_user
    iam.handle_request = handle
