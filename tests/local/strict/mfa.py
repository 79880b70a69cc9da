"""Codes of MFA devices are checked, are good once, and show in the conditions.

AWS (IAM API Reference, CreateVirtualMFADevice): the seed is a base 32 string for RFC 6238's algorithm. EnableMFADevice:
two consecutive codes, else InvalidAuthenticationCode. (STS API Reference, AssumeRole and GetSessionToken): SerialNumber
and TokenCode come together; a code that is wrong, used or of somebody else's device is AccessDenied. (IAM User Guide,
`id_credentials_mfa_configure-api-require`): a code in AssumeRole counts for the role's trust policy and leaves no mark
on the credentials; one in GetSessionToken gives credentials with `aws:MultiFactorAuthPresent` and
`aws:MultiFactorAuthAge`. Plain MiniStack takes any code and sets neither key.
"""

import base64
import contextvars
import secrets
import time
from dataclasses import replace

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id
from ministack.core.router import extract_access_key_id
from ministack.services import iam, sts

from totp import STEP, code

from . import query_protocol

_LAST = "StrictLastStep"  # kept in the device's record: the step of the newest code that was spent
_FAILED = "MultiFactorAuthentication failed"

_fresh: contextvars.ContextVar[bool] = contextvars.ContextVar("strict_mfa_fresh", default=False)


def _step_of(device: dict, given: str, after: int) -> int | None:
    """The step, later than `after`, whose code this is: the present one, or one off either way."""
    now = int(time.time()) // STEP
    return next(
        (step for step in (now - 1, now, now + 1) if step > after and code(device["Base32StringSeed"], step) == given), None
    )


def _enable(parameters: dict, original) -> query_protocol.Response:
    device = iam._mfa_devices.get(iam._p(parameters, "SerialNumber"))
    if device is not None and device["User"] is None:
        first = _step_of(device, iam._p(parameters, "AuthenticationCode1"), -1)
        second = first is not None and _step_of(device, iam._p(parameters, "AuthenticationCode2"), first)
        if not second or second != first + 1:
            return query_protocol.error(403, "InvalidAuthenticationCode", "Authentication code for device is not valid.", "iam")
        device[_LAST] = second
    return original(parameters)


def _create(parameters: dict, original) -> query_protocol.Response:
    serials = set(iam._mfa_devices)
    response = original(parameters)
    for serial in set(iam._mfa_devices) - serials:
        device = iam._mfa_devices[serial]
        plain = base64.b64encode(device["Base32StringSeed"].encode())
        device["Base32StringSeed"] = base64.b32encode(secrets.token_bytes(40)).decode()
        seed = base64.b64encode(device["Base32StringSeed"].encode())
        response = (response[0], response[1], response[2].replace(plain, seed))
    return response


def _refusal(parameters: dict, caller_key: str) -> str | None:
    """Why STS does not take the code, or None: then it is spent."""
    serial, given = parameters.get("SerialNumber"), parameters.get("TokenCode")
    if not serial or not given:
        return f"{_FAILED}, must provide both MFA serial number and one time pass code."
    credential = iam_evaluator.resolve_credential(caller_key, get_account_id())
    device = iam._mfa_devices.get(serial)
    owner = getattr(credential, "principal_name", None)
    if device is None or not owner or device["User"] != owner or caller_key in sts._sessions:
        return (
            f"{_FAILED}, unable to validate MFA code.  "
            "Please verify your MFA serial number is valid and associated with this user."
        )
    step = _step_of(device, str(given), device.get(_LAST, -1))
    if step is None:
        return f"{_FAILED} with invalid MFA one time pass code. "
    device[_LAST] = step
    return None


def apply() -> None:
    for operation, patch in (("CreateVirtualMFADevice", _create), ("EnableMFADevice", _enable)):

        def handler(parameters, original=iam._IAM_HANDLERS[operation], patch=patch):
            return patch(parameters, original)

        iam._IAM_HANDLERS[operation] = handler

    principal_keys = iam_evaluator._principal_keys
    evaluate_trust_policy = iam_evaluator.evaluate_trust_policy
    handle_request = sts.handle_request

    def principal_keys_with_mfa(credential):
        keys = principal_keys(credential)
        since = (sts._sessions.get(credential.access_key_id) or {}).get("MfaAt")
        if since is not None:
            keys["aws:multifactorauthpresent"] = "true"
            keys["aws:multifactorauthage"] = str(int(time.time() - since))
        return keys

    def evaluate_with_mfa(trust_document, caller_arn, context=None):
        if context is not None and _fresh.get():
            keys = {"aws:multifactorauthpresent": "true", "aws:multifactorauthage": "0"}
            context = replace(context, principal_keys={**context.principal_keys, **keys})
        return evaluate_trust_policy(trust_document, caller_arn, context)

    async def handle(method, path, headers, body, query_params):
        parameters = query_protocol.parameters(headers, body, query_params)
        action = parameters.get("Action")
        if action not in ("AssumeRole", "GetSessionToken") or not {"SerialNumber", "TokenCode"} & parameters.keys():
            return await handle_request(method, path, headers, body, query_params)
        refusal = _refusal(parameters, extract_access_key_id(headers, query_params) or "")
        if refusal:
            return query_protocol.error(403, "AccessDenied", refusal, "sts")
        token = _fresh.set(True)
        try:
            response = await handle_request(method, path, headers, body, query_params)
        finally:
            _fresh.reset(token)
        if action == "GetSessionToken" and response[0] == 200:
            sts._sessions[query_protocol.answered_access_key(response[2])]["MfaAt"] = time.time()
        return response

    iam_evaluator._principal_keys = principal_keys_with_mfa
    sts._principal_keys = principal_keys_with_mfa
    iam_evaluator.evaluate_trust_policy = evaluate_with_mfa
    sts.handle_request = handle
