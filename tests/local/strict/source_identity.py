"""Source identity: who is behind a role session.

AWS (IAM User Guide, `id_credentials_temp_control-access_monitor`): once set it cannot be changed, is there in every
later request of the session (`aws:SourceIdentity`) and goes along when the session assumes another role. Setting it,
or carrying it on, needs `sts:SetSourceIdentity` both in the caller's own policy and in the role's trust policy, else
the assumption fails. A trust policy can ask for a value with `sts:SourceIdentity`, which is there when one is being
set; what is carried on is `aws:SourceIdentity` alone. STS API Reference, AssumeRole: 2 to 64 characters of
`[\\w+=,.@-]`.
"""

import contextvars
import re
from collections.abc import Iterator
from dataclasses import replace

from ministack.core import iam_evaluator
from ministack.core.router import extract_access_key_id
from ministack.services import sts

from . import authorization, query_protocol

# What is being set, "" where one is carried on, None where there is none.
_assuming: contextvars.ContextVar[str | None] = contextvars.ContextVar("strict_source_identity", default=None)
_trust_refused: contextvars.ContextVar[bool] = contextvars.ContextVar("strict_source_identity_refused", default=False)
_caller_carries: contextvars.ContextVar[str] = contextvars.ContextVar("strict_carried_identity", default="")


def _of_session(access_key_id: str) -> str:
    return (sts._sessions.get(access_key_id) or {}).get("SourceIdentity", "")


def _keys(request: authorization.Request) -> dict[str, str]:
    """The request's own keys for the caller's policies."""
    if request.action != "sts:AssumeRole":
        return {}
    named = {
        "sts:sourceidentity": "SourceIdentity",
        "sts:rolesessionname": "RoleSessionName",
        "sts:externalid": "ExternalId",
    }
    return {key: value for key, name in named.items() if (value := request.parameter(name))}


def _checks(request: authorization.Request) -> Iterator[authorization.FurtherCheck]:
    """The caller's own policy must allow setting it, or carrying it on."""
    identity = request.parameter("SourceIdentity") or _caller_carries.get()
    if request.action == "sts:AssumeRole" and identity:
        yield authorization.FurtherCheck("sts:SetSourceIdentity", request.parameter("RoleArn"), _keys(request))


def apply() -> None:
    authorization.adds_condition_keys(_keys)
    authorization.needs_also(_checks)
    principal_keys = iam_evaluator._principal_keys
    evaluate_trust_policy = iam_evaluator.evaluate_trust_policy
    handle_request = sts.handle_request

    def principal_keys_with_identity(credential):
        keys = principal_keys(credential)
        identity = _of_session(credential.access_key_id)
        # Remembered here because this runs for every decision, with the verified key of the request's caller.
        _caller_carries.set(identity)
        if identity:
            keys["aws:sourceidentity"] = identity
        return keys

    def evaluate_with_identity(trust_document, caller_arn, context=None):
        asked = _assuming.get()
        if context is None or asked is None or context.action != "sts:AssumeRole":
            return evaluate_trust_policy(trust_document, caller_arn, context)
        if asked:
            context = replace(context, service_context={**context.service_context, "sts:sourceidentity": asked})
        if not evaluate_trust_policy(trust_document, caller_arn, context):
            return False
        allowed = evaluate_trust_policy(trust_document, caller_arn, replace(context, action="sts:SetSourceIdentity"))
        _trust_refused.set(not allowed)
        return allowed

    async def handle(method, path, headers, body, query_params):
        parameters = query_protocol.parameters(headers, body, query_params)
        if parameters.get("Action") != "AssumeRole":
            return await handle_request(method, path, headers, body, query_params)
        asked = parameters.get("SourceIdentity") or ""
        if asked and not re.fullmatch(r"[\w+=,.@-]{2,64}", asked, re.ASCII):
            return query_protocol.validation_error(
                asked, "sourceIdentity", "Member must have length 2 to 64 and match [\\w+=,.@-]*", "sts"
            )
        carried = _of_session(extract_access_key_id(headers, query_params) or "")
        if carried and asked and asked != carried:
            message = "The source identity of this session is set and cannot be changed"
            return query_protocol.error(403, "AccessDenied", message, "sts")
        identity = asked or carried
        _trust_refused.set(False)
        token = _assuming.set(asked if identity else None)
        try:
            status, answer_headers, answer = await handle_request(method, path, headers, body, query_params)
        finally:
            _assuming.reset(token)
        if _trust_refused.get():
            answer = answer.replace(b"perform: sts:AssumeRole ", b"perform: sts:SetSourceIdentity ")
        elif status == 200 and identity:
            sts._sessions[query_protocol.answered_access_key(answer)]["SourceIdentity"] = identity
            if answer.lstrip().startswith(b"{"):
                answer = answer.rstrip()[:-1] + b', "SourceIdentity": "' + identity.encode() + b'"}'
            else:
                element = b"<SourceIdentity>" + identity.encode() + b"</SourceIdentity></AssumeRoleResult>"
                answer = answer.replace(b"</AssumeRoleResult>", element)
        return status, answer_headers, answer

    iam_evaluator._principal_keys = principal_keys_with_identity
    sts._principal_keys = principal_keys_with_identity
    iam_evaluator.evaluate_trust_policy = evaluate_with_identity
    sts.handle_request = handle
