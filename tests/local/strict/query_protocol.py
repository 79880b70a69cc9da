"""Reading and answering requests of the AWS query protocol (IAM, STS), for the patches that wrap whole operations."""

import json
import re
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from ministack.services import iam

Response = tuple[int, dict[str, str], bytes]


def parameters(headers: dict, body: bytes, query: dict) -> dict[str, Any]:
    """The parameters of a request, whether in the query, a form body or a JSON body."""
    found = {name: value[0] if isinstance(value, list) and value else value for name, value in query.items()}
    if "amz-json" in headers.get("content-type", ""):
        found["Action"] = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            document = json.loads(body or b"{}")
        except ValueError:
            document = {}
        found.update(document if isinstance(document, dict) else {})
    elif body:
        found.update({name: value[0] for name, value in parse_qs(body.decode("utf-8", "replace")).items()})
    return found


def error(status: int, code: str, message: str, namespace: str) -> Response:
    """An error of IAM or STS."""
    return iam._error(status, code, escape(message), ns=namespace)


def validation_error(value: object, member: str, constraint: str, namespace: str) -> Response:
    """The error AWS gives for a parameter that its model does not allow."""
    message = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    return error(400, "ValidationError", message, namespace)


def answered_access_key(body: bytes) -> str:
    """The access key id in an STS answer, or the empty string."""
    match = re.search(rb'<AccessKeyId>(\w+)</AccessKeyId>|"AccessKeyId":\s*"(\w+)"', body)
    return (match.group(1) or match.group(2)).decode() if match else ""
