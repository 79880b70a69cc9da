"""`iam:PermissionsBoundary`, `iam:PolicyARN` and `iam:ResourceTag`.

AWS (Service Authorization Reference, IAM): `iam:PermissionsBoundary` is the policy set as boundary, in the request
for CreateRole, CreateUser and Put*PermissionsBoundary, of the entity as it is for the other actions that list the
key; `iam:PolicyARN` is the policy that is attached or detached; `iam:ResourceTag/<key>` and `aws:ResourceTag/<key>`
are the tags of the user or role.

An action that does not list a key never has it: an Allow that asks for it then matches nothing (`TagRole`,
`DeleteUser`, `CreateAccessKey`, `PassRole` know no boundary).
"""

from . import authorization, iam_arns

_BOUNDARY_IN_REQUEST = {"CreateRole", "CreateUser", "PutRolePermissionsBoundary", "PutUserPermissionsBoundary"}
_BOUNDARY_OF_ENTITY = {
    "AttachRolePolicy",
    "AttachUserPolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "PutRolePolicy",
    "PutUserPolicy",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
    "UpdateRoleDescription",
}
_POLICY_ARN = {
    "AttachGroupPolicy",
    "AttachRolePolicy",
    "AttachUserPolicy",
    "DetachGroupPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
}


def _keys(request: authorization.Request) -> dict[str, str]:
    if request.service != "iam":
        return {}
    entity = iam_arns.named_entity(request.parameter)
    keys: dict[str, str] = {}
    boundary = None
    if request.operation in _BOUNDARY_IN_REQUEST:
        boundary = request.parameter("PermissionsBoundary")
    elif request.operation in _BOUNDARY_OF_ENTITY:
        boundary = entity.get("PermissionsBoundary")
    if boundary:
        keys["iam:permissionsboundary"] = boundary
    if request.operation in _POLICY_ARN:
        keys["iam:policyarn"] = request.parameter("PolicyArn")
    for tag in entity.get("Tags") or []:
        for prefix in ("iam:resourcetag/", "aws:resourcetag/"):
            keys[prefix + tag["Key"].lower()] = tag["Value"]
    return keys


def apply() -> None:
    authorization.adds_condition_keys(_keys)
