"""Writes down what role sessions called: the file `decisions` in the server's folder, a JSON object a line.

No patch: nothing is decided otherwise. Tests compare what the functions really call with what their roles allow.
"""

import json
from pathlib import Path

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id

from . import authorization

_FILE = Path("decisions")


def _write(access_key_id: str, action: str, resource: str, allowed: bool) -> None:
    credential = iam_evaluator.resolve_credential(access_key_id, get_account_id())
    if getattr(credential, "principal_type", "") != "AssumedRole":
        return
    role = iam_evaluator._role_name_from_assumed_arn(credential.principal_arn)
    with _FILE.open("a") as file:
        file.write(json.dumps({"role": role, "action": action, "resource": resource, "allowed": allowed}) + "\n")


def apply() -> None:
    authorization.observes(_write)
