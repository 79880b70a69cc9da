"""`aws:PrincipalArn` of somebody who assumed a role.

AWS (IAM User Guide, `reference_policies_condition-keys`): for a role the key holds the ARN of the role, not that of
the assumed-role session. The role's own ARN, so with its path.
"""

from ministack.core import iam_evaluator
from ministack.services import iam


def role_arn(session_arn: str) -> str:
    """The ARN of the role behind an assumed-role session's ARN; any other ARN as it is."""
    if ":assumed-role/" not in session_arn:
        return session_arn
    account = session_arn.split(":")[4]
    name = iam_evaluator._role_name_from_assumed_arn(session_arn)
    role = iam._roles.get_scoped(account, None, name) or {}
    return role.get("Arn") or f"arn:aws:iam::{account}:role/{name}"


def apply() -> None:
    resolve_condition_key = iam_evaluator._resolve_condition_key

    def resolve(key, context):
        value = resolve_condition_key(key, context)
        return role_arn(value) if key.lower() == "aws:principalarn" and value else value

    iam_evaluator._resolve_condition_key = resolve
