"""The ARN that an IAM request is decided on, path included.

AWS (IAM User Guide, `reference_identifiers`): the path of a user, role, group or policy is part of its ARN. The
Service Authorization Reference gives each action's resource type: AddUserToGroup and RemoveUserFromGroup the group,
AddRoleToInstanceProfile and RemoveRoleFromInstanceProfile the instance profile, CreateRole the role to be, ListRoles
none (so only `Resource: "*"` allows it).

An entity that does not exist has no path that anyone could know, so a request about it is decided on `role/<name>`: a
policy for `role/sorry/session/*` alone then gives AccessDenied, not NoSuchEntity. AWS does not document this; its
refusals in that case name no ARN ("on resource: role <name>"), and being strict here costs least.
"""

from ministack.core import iam_actions
from ministack.core.responses import get_account_id
from ministack.services import iam

# Resource type, the parameter that names it, and where such entities are kept. The order decides where a request
# names two of them, unless _BY_ACTION says otherwise.
_TYPES = {
    "role": ("RoleName", iam._roles),
    "user": ("UserName", iam._users),
    "group": ("GroupName", iam._groups),
    "instance-profile": ("InstanceProfileName", iam._instance_profiles),
}
_BY_ACTION = {
    "AddUserToGroup": "group",
    "RemoveUserFromGroup": "group",
    "AddRoleToInstanceProfile": "instance-profile",
    "RemoveRoleFromInstanceProfile": "instance-profile",
}
_CREATES = {
    "CreateRole": "role",
    "CreateUser": "user",
    "CreateGroup": "group",
    "CreateInstanceProfile": "instance-profile",
    "CreatePolicy": "policy",
}


def named_entity(parameter) -> dict:
    """The role or user that a request is about, or an empty object. `parameter` reads a parameter by name."""
    for kind in ("role", "user"):
        name_parameter, store = _TYPES[kind]
        name = parameter(name_parameter)
        if name:
            return store.get_scoped(get_account_id(), None, name) or {}
    return {}


def resource_arn(operation: str, parameter, account_id: str) -> str | None:
    """The ARN of an IAM request, or None where MiniStack's own answer serves."""

    def arn(kind: str, path_and_name: str) -> str:
        return f"arn:aws:iam::{account_id}:{kind}{path_and_name}"

    if operation in _CREATES:
        kind = _CREATES[operation]
        name = parameter("PolicyName" if kind == "policy" else _TYPES[kind][0])
        return arn(kind, (parameter("Path") or "/") + name)
    for kind in [_BY_ACTION[operation]] if operation in _BY_ACTION else _TYPES:
        name_parameter, store = _TYPES[kind]
        name = parameter(name_parameter)
        if name:
            entity = store.get_scoped(account_id, None, name) or {}
            return entity.get("Arn") or arn(kind, f"/{name}")
    return None


def apply() -> None:
    extract_resource_arn = iam_actions.extract_resource_arn

    def with_path(service, method, path, headers, body, query_params, region, account_id):
        if service == "iam":
            action = iam_actions.extract_iam_action(service, method, path, headers, body, query_params) or ""
            found = resource_arn(action.partition(":")[2], lambda name: iam_actions._query_param(query_params, name), account_id)
            if found:
                return found
        return extract_resource_arn(service, method, path, headers, body, query_params, region, account_id)

    iam_actions.extract_resource_arn = with_path
