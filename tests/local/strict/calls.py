"""Writes down every call and how long it took: the file `calls` in the server's folder, a JSON object a line.

No patch: nothing is decided otherwise. `decisions` has what IAM was asked, item by item; this has what was sent, as AWS would
count and bill it. The benchmarks and a test of the number of calls read it.
"""

import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id
from ministack.core.router import extract_access_key_id

_FILE = Path("calls")


def _principal(access_key_id: str) -> str:
    """`role <name>`, `user <name>`, or nothing for root and strangers."""
    credential = iam_evaluator.resolve_credential(access_key_id, get_account_id())
    arn = getattr(credential, "principal_arn", "") or ""
    if getattr(credential, "principal_type", "") == "AssumedRole":
        return f"role {iam_evaluator._role_name_from_assumed_arn(arn)}"
    return f"user {arn.rpartition('/')[2]}" if ":user/" in arn else ""


def _operation(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]) -> tuple[str, str]:
    """Service and operation: from the target of the JSON protocols, the parameters of the query protocol, or the path."""
    target = headers.get("x-amz-target", "")
    if target:
        service, _, operation = target.rpartition(".")
        return service.partition("_")[0].lower(), operation
    form = urllib.parse.parse_qs(body.decode("latin-1")) if body.startswith((b"Action=", b"Version=")) else query
    scope = headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    signed_for = scope[3] if len(scope) > 3 else ""
    return signed_for, form["Action"][0] if "Action" in form else f"{method} {path}"


def _write(begun: float, status: Any, access_key_id: str, service: str, operation: str) -> None:
    entry = {
        "begun": begun,
        "ended": time.time(),
        "principal": _principal(access_key_id),
        "service": service,
        "operation": operation,
        "status": status,
    }
    with _FILE.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def apply() -> None:
    dispatch = app._dispatch_service_request
    execute_api = app._handle_execute_api_request

    async def written_down(method, path, headers, body, query_params, request_id):
        begun = time.time()
        answer = await dispatch(method, path, headers, body, query_params, request_id)
        service, operation = _operation(method, path, headers, body, query_params)
        _write(begun, answer[0], extract_access_key_id(headers, query_params), service, operation)
        return answer

    async def gateway_written_down(host, path, method, headers, body, query_params, **details):
        begun = time.time()
        answer = await execute_api(host, path, method, headers, body, query_params, **details)
        if answer is not None:
            # After /_aws/execute-api/<api>/<stage>.
            resource = "/" + "/".join(path.split("/")[5:])
            _write(begun, answer[0], extract_access_key_id(headers, query_params), "execute-api", f"{method} {resource}")
        return answer

    app._dispatch_service_request = written_down
    app._handle_execute_api_request = gateway_written_down
