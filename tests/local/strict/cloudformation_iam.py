"""Roles and managed policies made by CloudFormation obey IAM's rules.

AWS (CloudFormation Template Reference, AWS::IAM::Role): PermissionsBoundary sets the role's boundary; plain MiniStack
drops it, so that the role would have none. CloudFormation makes both through IAM, so IAM's limits hold.
"""

import json
from typing import Any

from ministack.services import iam
from ministack.services.cloudformation import provisioners

from . import policy_sizes, trust_principals


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


def _refuse(message: str | None) -> None:
    if message:
        raise ValueError(message)


def _check_role(properties: dict[str, Any]) -> None:
    trust = _text(properties.get("AssumeRolePolicyDocument", {}))
    _refuse(policy_sizes.trust_policy_refusal(trust))
    stranger = trust_principals.unknown_principal(trust)
    _refuse(f'Invalid principal in policy: "AWS":"{stranger}"' if stranger else None)
    inline = [_text(policy.get("PolicyDocument", {})) for policy in properties.get("Policies", [])]
    name = properties.get("RoleName", "")
    _refuse(policy_sizes.inline_policies_refusal(inline, policy_sizes.INLINE_POLICIES_OF_ROLE, "role", name))
    boundary = properties.get("PermissionsBoundary")
    if boundary and iam._boundary_policy_error(boundary):
        _refuse(f"Scope ARN: {boundary} does not exist or is not attachable.")


def apply() -> None:
    create_role, update_role = provisioners._iam_role_create, provisioners._iam_role_update
    create_policy = provisioners._iam_managed_policy_create
    update_policy = provisioners._iam_managed_policy_update

    def finish(name: str, properties: dict[str, Any]) -> None:
        role = iam._roles[name]
        role["PermissionsBoundary"] = properties.get("PermissionsBoundary")
        trust_principals.bind(role)

    def create_strict_role(logical_id, props, stack_name):
        _check_role(props)
        created = create_role(logical_id, props, stack_name)
        finish(created[0], props)
        return created

    def update_strict_role(physical_id, old_props, new_props, stack_name, logical_id=None):
        _check_role(new_props)
        updated = update_role(physical_id, old_props, new_props, stack_name, logical_id)
        finish(updated[0], new_props)
        return updated

    def create_strict_policy(logical_id, props, stack_name):
        _refuse(policy_sizes.managed_policy_refusal(_text(props.get("PolicyDocument", {}))))
        return create_policy(logical_id, props, stack_name)

    def update_strict_policy(physical_id, old_props, new_props, *rest, **named):
        _refuse(policy_sizes.managed_policy_refusal(_text(new_props.get("PolicyDocument", {}))))
        return update_policy(physical_id, old_props, new_props, *rest, **named)

    provisioners._iam_role_create = create_strict_role
    provisioners._iam_role_update = update_strict_role
    provisioners._iam_managed_policy_create = create_strict_policy
    provisioners._iam_managed_policy_update = update_strict_policy
    provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"].update(create=create_strict_role, update=update_strict_role)
    provisioners._RESOURCE_HANDLERS["AWS::IAM::ManagedPolicy"].update(create=create_strict_policy, update=update_strict_policy)
