"""An independent judge for the end-to-end tests: boto3, and botocore's signer, driven line by line.

The tests look at the *effect* of what `sorry` does, and with other eyes than its own: what credentials can do is tried
with the SDK for Python, and what the gateway takes is tried with requests signed, unsigned or tampered with here.

Standard input has one JSON object per line, standard output one answer per line:

    {"call": "sns.create_topic", "parameters": {…}, "credentials": {…}}    → {"ok": …} or {"error": code, "message": …}
    the same with "from": "127.0.0.2"                                      the call comes from this address
    {"request": "POST /tiers/developer/sessions", "body": "…", "credentials": {…} or null, "tamper": null | "body" | "key"}
                                                                           → {"status": 403, "body": …}

Credentials have `access_key_id`, `secret_access_key` and perhaps `session_token`.
"""

import functools
import json
import sys
import urllib.error
import urllib.request
from typing import Any

import boto3
import urllib3.util.connection
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

REGION = "us-east-1"
# No retries: a test wants the first answer.
CONFIG = Config(proxies={}, retries={"total_max_attempts": 1}, parameter_validation=False)


_connect = urllib3.util.connection.create_connection


def _connect_from(source: tuple[str, int] | None, *place: Any, **options: Any) -> Any:
    return _connect(*place, **options | {"source_address": source})


def call(endpoint_url: str, question: dict[str, Any]) -> dict[str, Any]:
    """One AWS call with the credentials given."""
    service, operation = question["call"].split(".")
    # botocore has no setting for the address that a connection comes from. Each call has a client and connections of its own.
    source = (question["from"], 0) if question.get("from") else None
    urllib3.util.connection.create_connection = functools.partial(_connect_from, source)
    given = question["credentials"]
    client = boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=given["access_key_id"],
        aws_secret_access_key=given["secret_access_key"],
        aws_session_token=given.get("session_token"),
        config=CONFIG,
    )
    try:
        answer = getattr(client, operation)(**question.get("parameters", {}))
    except ClientError as error:
        return {"error": error.response["Error"]["Code"], "message": error.response["Error"].get("Message", "")}
    except (NoConnection, HTTPClientError) as error:
        # A restart came between: nobody has judged, which is neither yes nor no.
        return {"error": "NoAnswer", "message": str(error)}
    for name, value in list(answer.items()):
        if hasattr(value, "read"):
            answer[name] = value.read().decode()
    return {"ok": answer}


def request(endpoint: str, question: dict[str, Any]) -> dict[str, Any]:
    """One request to the gateway."""
    method, path = question["request"].split(" ", 1)
    body = question.get("body", "").encode()
    signed = AWSRequest(method=method, url=endpoint + path, data=body, headers={"content-type": "application/json"})
    given, tamper = question.get("credentials"), question.get("tamper")
    if given:
        secret = given["secret_access_key"]
        wrong = secret[::-1] if tamper == "key" else secret
        keys = Credentials(given["access_key_id"], wrong, given.get("session_token"))
        SigV4Auth(keys, "execute-api", REGION).add_auth(signed)
    if tamper == "body":
        body = body.replace(b"1", b"2")
    prepared = urllib.request.Request(endpoint + path, body or None, dict(signed.headers), method=method)
    try:
        with urllib.request.urlopen(prepared, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return {"status": status, "body": json.loads(text)}
    except ValueError:
        return {"status": status, "body": text}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def main() -> None:
    endpoint_url, endpoint = sys.argv[1:]
    for line in sys.stdin:
        question = json.loads(line)
        answer = call(endpoint_url, question) if "call" in question else request(endpoint, question)
        print(json.dumps(answer, default=_text), flush=True)


if __name__ == "__main__":
    main()
