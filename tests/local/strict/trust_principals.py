"""Principals of a trust policy are checked when it is written, and bound to unique ids.

AWS (IAM User Guide, `reference_policies_elements_principal`): when a trust policy is saved, the ARN of a user or role
in it turns into that entity's unique id; if the entity is deleted and made anew under the same name, the policy no
longer applies to it. A principal that does not exist is MalformedPolicyDocument, "Invalid principal in policy".
"""

import json
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import iam

from . import query_protocol

_BINDINGS = "TrustPrincipalIds"  # kept in the role's record: ARN → unique id


def _statements(document: Any) -> list[dict]:
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return []
    statements = document.get("Statement", []) if isinstance(document, dict) else []
    return [s for s in ([statements] if isinstance(statements, dict) else statements) if isinstance(s, dict)]


def _aws_principals(statement: dict) -> list[str]:
    principal = statement.get("Principal")
    names = principal.get("AWS", []) if isinstance(principal, dict) else []
    return [names] if isinstance(names, str) else [name for name in names if isinstance(name, str)]


def _unique_id(arn: str) -> str | None:
    """The unique id of the user or role with exactly this ARN, in this account."""
    for kind, store, key in (("user", iam._users, "UserId"), ("role", iam._roles, "RoleId")):
        if f":{kind}/" in arn and arn.startswith("arn:"):
            entity = store.get_scoped(arn.split(":")[4], None, arn.rpartition("/")[2]) or {}
            return entity.get(key) if entity.get("Arn") == arn else None
    return None


def _is_user_or_role(arn: str) -> bool:
    return arn.startswith("arn:") and ":iam:" in arn and (":user/" in arn or ":role/" in arn)


def unknown_principal(document: Any) -> str | None:
    """The first principal of a trust policy that does not exist, or None. Other accounts' cannot be known here."""
    for statement in _statements(document):
        for arn in _aws_principals(statement):
            if _is_user_or_role(arn) and arn.split(":")[4] == get_account_id() and _unique_id(arn) is None:
                return arn
    return None


def bind(role: dict) -> None:
    """Remember who the principals of the role's trust policy are now."""
    arns = {arn for s in _statements(role.get("AssumeRolePolicyDocument")) for arn in _aws_principals(s)}
    role[_BINDINGS] = {arn: unique_id for arn in arns if (unique_id := _unique_id(arn))}


def _without_strangers(document: Any, bindings: dict[str, str]) -> Any:
    """The document with every principal that was made anew replaced by the unique id it stood for."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return document
    document = json.loads(json.dumps(document))
    for statement in _statements(document):
        names = _aws_principals(statement)
        if names:
            bound = [bindings[name] if name in bindings and _unique_id(name) != bindings[name] else name for name in names]
            statement["Principal"] = {**statement["Principal"], "AWS": bound}
    return document


def apply() -> None:
    evaluate_trust_policy = iam_evaluator.evaluate_trust_policy

    def evaluate(trust_document, caller_arn, context=None):
        if context is not None and ":role/" in context.resource_arn:
            account, name = context.resource_arn.split(":")[4], context.resource_arn.rpartition("/")[2]
            role = iam._roles.get_scoped(account, None, name) or {}
            trust_document = _without_strangers(trust_document, role.get(_BINDINGS) or {})
        return evaluate_trust_policy(trust_document, caller_arn, context)

    iam_evaluator.evaluate_trust_policy = evaluate

    for operation, member in (("CreateRole", "AssumeRolePolicyDocument"), ("UpdateAssumeRolePolicy", "PolicyDocument")):

        def write(parameters, original=iam._IAM_HANDLERS[operation], member=member):
            stranger = unknown_principal(iam._p(parameters, member))
            if stranger:
                message = f'Invalid principal in policy: "AWS":"{stranger}"'
                return query_protocol.error(400, "MalformedPolicyDocument", message, "iam")
            response = original(parameters)
            if response[0] == 200:
                bind(iam._roles[iam._p(parameters, "RoleName")])
            return response

        iam._IAM_HANDLERS[operation] = write
