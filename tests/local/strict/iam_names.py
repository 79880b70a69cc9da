"""Names, durations and tags that IAM accepts.

AWS (IAM API Reference, CreateRole): a role's name has 1 to 64 characters of `[\\w+=,.@-]`, and names that differ only
by case are the same; MaxSessionDuration is from 3600 to 43200; a path has 512 characters at most. IAM User Guide,
`id_tags`: 50 tags at most; keys of 1 to 128 and values of 0 to 256 letters, numbers, spaces and `_.:/=+-@`; no key
begins with `aws:`.
"""

import re
import unicodedata
from typing import Any

from ministack.services import iam

from . import query_protocol

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/", re.ASCII)


def _tag_text_is_valid(text: str) -> bool:
    return all(unicodedata.category(c)[0] in "LZN" or c in "_.:/=+-@" for c in text)


def _tags_refusal(tags: list[dict[str, str]], existing: list[dict[str, str]]) -> query_protocol.Response | None:
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= 128 or not _tag_text_is_valid(key) or key.lower().startswith("aws:"):
            return query_protocol.validation_error(key, "tags.member.key", "Member must be a valid tag key", "iam")
        if len(value) > 256 or not _tag_text_is_valid(value):
            return query_protocol.validation_error(value, "tags.member.value", "Member must be a valid tag value", "iam")
    if len({tag["Key"] for tag in [*existing, *tags]}) > 50:
        return query_protocol.error(409, "LimitExceeded", "Cannot exceed quota for TagsPerResource: 50", "iam")
    return None


def _refusal(operation: str, parameters: dict[str, Any]) -> query_protocol.Response | None:
    member, store = ("RoleName", iam._roles) if operation.endswith("Role") else ("UserName", iam._users)
    name = iam._p(parameters, member)
    shown = member[0].lower() + member[1:]
    if operation.startswith("Create"):
        if not 1 <= len(name) <= 64 or not _NAME.fullmatch(name):
            constraint = "Member must have length 1 to 64 and match [\\w+=,.@-]+"
            return query_protocol.validation_error(name, shown, constraint, "iam")
        path = iam._p(parameters, "Path") or "/"
        if len(path) > 512 or not _PATH.fullmatch(path):
            return query_protocol.validation_error(path, "path", "Member must begin and end with /", "iam")
        if name not in store and any(other.lower() == name.lower() for other in store):
            return query_protocol.error(409, "EntityAlreadyExists", f"{name} differs only by case from another", "iam")
    duration = iam._p(parameters, "MaxSessionDuration")
    if duration and operation.endswith("Role") and not 3600 <= int(duration) <= 43200:
        constraint = "Member must have value between 3600 and 43200"
        return query_protocol.validation_error(duration, "maxSessionDuration", constraint, "iam")
    existing = (store.get(name) or {}).get("Tags") or []
    return _tags_refusal(iam._extract_tags(parameters), existing)


def apply() -> None:
    for operation in ("CreateRole", "UpdateRole", "TagRole", "CreateUser", "TagUser"):

        def write(parameters, original=iam._IAM_HANDLERS[operation], operation=operation):
            return _refusal(operation, parameters) or original(parameters)

        iam._IAM_HANDLERS[operation] = write
