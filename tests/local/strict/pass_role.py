"""`iam:PassRole`, for the operations that hand a role to a service.

AWS (IAM User Guide, `id_roles_use_passrole`; Service Authorization Reference, dependent actions): whoever gives a
role to a service must be allowed to pass that role, and `iam:PassedToService` names the service it goes to.
"""

from collections.abc import Iterator
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import iam

from . import authorization

# Operation → the members or parameters that hold a role's ARN, and the service that gets it.
_PASSES = {
    "cloudformation:CreateChangeSet": (("RoleARN",), "cloudformation.amazonaws.com"),
    "cloudformation:CreateStack": (("RoleARN",), "cloudformation.amazonaws.com"),
    "cloudformation:UpdateStack": (("RoleARN",), "cloudformation.amazonaws.com"),
    "codebuild:CreateProject": (("serviceRole",), "codebuild.amazonaws.com"),
    "codebuild:UpdateProject": (("serviceRole",), "codebuild.amazonaws.com"),
    "ecs:RegisterTaskDefinition": (("executionRoleArn", "taskRoleArn"), "ecs-tasks.amazonaws.com"),
    "events:PutTargets": (("RoleArn",), "events.amazonaws.com"),
    "glue:CreateJob": (("Role",), "glue.amazonaws.com"),
    "lambda:CreateFunction": (("Role",), "lambda.amazonaws.com"),
    "lambda:UpdateFunctionConfiguration": (("Role",), "lambda.amazonaws.com"),
    "scheduler:CreateSchedule": (("RoleArn",), "scheduler.amazonaws.com"),
    "scheduler:UpdateSchedule": (("RoleArn",), "scheduler.amazonaws.com"),
    "states:CreateStateMachine": (("roleArn",), "states.amazonaws.com"),
    "states:UpdateStateMachine": (("roleArn",), "states.amazonaws.com"),
}
_EC2 = "ec2.amazonaws.com"


def _members(document: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Every string member of one of these names, wherever it stands in a JSON document."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in names and isinstance(value, str):
                yield value
            else:
                yield from _members(value, names)
    elif isinstance(document, list):
        for value in document:
            yield from _members(value, names)


def _of_instance_profile(request: authorization.Request) -> Iterator[str]:
    name = request.parameter("IamInstanceProfile.Name") or request.parameter("IamInstanceProfile.Arn")
    profile = iam._instance_profiles.get_scoped(get_account_id(), None, name.rpartition("/")[2]) if name else None
    yield from (profile or {}).get("Roles", [])


def _arn(role: str) -> str:
    """A role's ARN as IAM knows it, from its ARN or bare name."""
    stored = iam._roles.get_scoped(get_account_id(), None, role.rpartition("/")[2]) or {}
    return stored.get("Arn") or (role if role.startswith("arn:") else f"arn:aws:iam::{get_account_id()}:role/{role}")


def _checks(request: authorization.Request) -> Iterator[authorization.FurtherCheck]:
    if request.action == "iam:AddRoleToInstanceProfile":
        roles, service = [request.parameter("RoleName")], _EC2
    elif request.action == "ec2:RunInstances":
        roles, service = list(_of_instance_profile(request)), _EC2
    elif request.action in _PASSES:
        names, service = _PASSES[request.action]
        roles = [role for role in map(request.parameter, names) if role]
        roles += _members(request.document(), names)
    else:
        return
    for role in roles:
        yield authorization.FurtherCheck("iam:PassRole", _arn(role), {"iam:passedtoservice": service})


def apply() -> None:
    authorization.needs_also(_checks)
