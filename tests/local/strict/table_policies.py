"""Tables have policies of their own, and they count.

AWS (DynamoDB Developer Guide, "Using resource-based policies"): a table's policy is evaluated with those of the caller, and
a deny in either wins; it is set by PutResourcePolicy or, in a stack, by the table's ResourcePolicy. An index is asked for
by its own ARN, and is governed by the policy of its table. Plain MiniStack keeps the policy, asks it for nothing, and drops
that of a stack.
"""

import json
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners


def table_policy_for_arn(arn: str) -> tuple[str, str] | None:
    """The policy of the table that an ARN names, or names an index of, and the owner's account."""
    table = arn.partition("/index/")[0]
    entry = dynamodb._resource_policies.get(table)
    return (entry["Policy"], arn.split(":")[4]) if entry else None


def _keep(arn: str, properties: dict[str, Any]) -> None:
    document = (properties.get("ResourcePolicy") or {}).get("PolicyDocument")
    if document is None:
        dynamodb._resource_policies.pop(arn, None)
        return
    text = document if isinstance(document, str) else json.dumps(document)
    dynamodb._resource_policies[arn] = {"Policy": text, "RevisionId": dynamodb.new_uuid()}


def apply() -> None:
    create_table, update_table = provisioners._ddb_create, provisioners._ddb_update

    def create(logical_id, props, stack_name):
        created = create_table(logical_id, props, stack_name)
        _keep(created[1]["Arn"], props)
        return created

    def update(physical_id, old_props, new_props, stack_name, logical_id=None):
        updated = update_table(physical_id, old_props, new_props, stack_name, logical_id)
        _keep(dynamodb._tables[updated[0]]["TableArn"], new_props)
        return updated

    provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"].update(create=create, update=update)
    dynamodb.table_policy_for_arn = table_policy_for_arn
    iam_evaluator._RESOURCE_POLICY_LOOKUPS["dynamodb"] = ("dynamodb", "table_policy_for_arn")
