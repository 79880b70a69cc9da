"""A bucket made by CloudFormation with Object Lock has it.

AWS (CloudFormation Template Reference, AWS::S3::Bucket): ObjectLockEnabled turns Object Lock on, and the DefaultRetention of
ObjectLockConfiguration is what every new version gets. MiniStack's S3 knows both; its CloudFormation drops them.
"""

from typing import Any

from ministack.services import s3
from ministack.services.cloudformation import provisioners


def apply() -> None:
    apply_configurations = provisioners._s3_apply_configurations

    def apply_all_configurations(name: str, props: dict[str, Any], *rest: Any) -> None:
        apply_configurations(name, props, *rest)
        if str(props.get("ObjectLockEnabled", "")).lower() != "true":
            return
        rule = props.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
        retention = None
        if rule:
            retention = {"Mode": rule["Mode"]}
            retention |= {unit: int(rule[unit]) for unit in ("Days", "Years") if unit in rule}
        s3._bucket_object_lock[name] = {"enabled": True, "default_retention": retention}

    provisioners._s3_apply_configurations = apply_all_configurations
