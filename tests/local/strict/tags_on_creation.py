"""Creating something with tags, a session too, needs the permission to tag it.

AWS (IAM User Guide, `id_tags_roles`, `id_tags_users`, `id_tags_customer-managed-policies`): who creates an entity
with tags needs `iam:TagRole` besides `iam:CreateRole`, `iam:TagUser` besides `iam:CreateUser`, `iam:TagPolicy`
besides `iam:CreatePolicy`. (`id_session-tags`): who passes session tags needs `sts:TagSession` besides
`sts:AssumeRole`, in their own policy as in the role's trust policy.
"""

from collections.abc import Iterator

from ministack.core.responses import get_account_id

from . import authorization, iam_arns

_TAGGING = {"CreateRole": "TagRole", "CreateUser": "TagUser", "CreatePolicy": "TagPolicy"}


def _checks(request: authorization.Request) -> Iterator[authorization.FurtherCheck]:
    if request.action == "sts:AssumeRole" and request.parameter("Tags.member.1.Key"):
        yield authorization.FurtherCheck("sts:TagSession", request.parameter("RoleArn"), {})
        return
    if request.service != "iam" or request.operation not in _TAGGING:
        return
    tags = {}
    number = 1
    while key := request.parameter(f"Tags.member.{number}.Key"):
        tags[key] = request.parameter(f"Tags.member.{number}.Value")
        number += 1
    if tags:
        arn = iam_arns.resource_arn(request.operation, request.parameter, get_account_id()) or "*"
        keys: dict[str, object] = {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}
        keys["aws:tagkeys"] = list(tags)
        yield authorization.FurtherCheck(f"iam:{_TAGGING[request.operation]}", arn, keys)


def apply() -> None:
    authorization.needs_also(_checks)
