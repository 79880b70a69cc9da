"""How large policies may be.

AWS (IAM User Guide, `reference_iam-quotas`): a trust policy 2,048 characters (by default); the inline policies of a
role 10,240 together, of a user 2,048, of a group 5,120; a managed policy 6,144. White space is not counted.
"""

from collections.abc import Callable, Iterable
from typing import Any

from ministack.services import iam

from . import query_protocol

TRUST_POLICY = 2048
MANAGED_POLICY = 6144
INLINE_POLICIES_OF_ROLE = 10240
INLINE_POLICIES_OF_USER = 2048
INLINE_POLICIES_OF_GROUP = 5120


def size(document: str) -> int:
    """The size that counts: without white space."""
    return len("".join(document.split()))


def trust_policy_refusal(document: str) -> str | None:
    return f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY}" if size(document) > TRUST_POLICY else None


def managed_policy_refusal(document: str) -> str | None:
    return f"Cannot exceed quota for PolicySize: {MANAGED_POLICY}" if size(document) > MANAGED_POLICY else None


def inline_policies_refusal(documents: Iterable[str], limit: int, kind: str, name: str) -> str | None:
    if sum(map(size, documents)) > limit:
        return f"Maximum policy size of {limit} bytes exceeded for {kind} {name}"
    return None


def _inline(kind: str, name_parameter: str, existing: Callable[[str], dict], limit: int) -> Callable[[dict], str | None]:
    def refusal(parameters: dict[str, Any]) -> str | None:
        name = iam._p(parameters, name_parameter)
        documents = dict(existing(name) or {})
        documents[iam._p(parameters, "PolicyName")] = iam._p(parameters, "PolicyDocument")
        return inline_policies_refusal(documents.values(), limit, kind, name)

    return refusal


_REFUSALS: dict[str, Callable[[dict], str | None]] = {
    "CreateRole": lambda p: trust_policy_refusal(iam._p(p, "AssumeRolePolicyDocument")),
    "UpdateAssumeRolePolicy": lambda p: trust_policy_refusal(iam._p(p, "PolicyDocument")),
    "CreatePolicy": lambda p: managed_policy_refusal(iam._p(p, "PolicyDocument")),
    "CreatePolicyVersion": lambda p: managed_policy_refusal(iam._p(p, "PolicyDocument")),
    "PutRolePolicy": _inline(
        "role", "RoleName", lambda name: (iam._roles.get(name) or {}).get("InlinePolicies", {}), INLINE_POLICIES_OF_ROLE
    ),
    "PutUserPolicy": _inline("user", "UserName", lambda name: iam._user_inline_policies.get(name), INLINE_POLICIES_OF_USER),
    "PutGroupPolicy": _inline("group", "GroupName", lambda name: iam._group_inline_policies.get(name), INLINE_POLICIES_OF_GROUP),
}


def apply() -> None:
    for operation, refusal in _REFUSALS.items():

        def write(parameters, original=iam._IAM_HANDLERS[operation], refusal=refusal):
            message = refusal(parameters)
            if message:
                return query_protocol.error(409, "LimitExceeded", message, "iam")
            return original(parameters)

        iam._IAM_HANDLERS[operation] = write
