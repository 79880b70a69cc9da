"""Puts many sessions into a local AWS, as if they had been asked for: rows made after one that is there, and roles if they live.

Standard input has one JSON object: `endpoint_url`, `credentials`, `row` (a row as DynamoDB has it), `count`, `expires_at`
(RFC 3339; of the new rows, or null for that of the row), `live` (whether they have a role and stand in the index of what is due).
"""

import copy
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

TABLE = "sorry-sessions"
SHARDS = 8  # DUE_SHARDS in crates/session/src/expiry.rs
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # of session ids
BATCH = 25  # BatchWriteItem takes no more


def client(service: str, asked: dict[str, Any]) -> Any:
    keys = asked["credentials"]
    return boto3.client(
        service,
        endpoint_url=asked["endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        config=Config(proxies={}, max_pool_connections=16),
    )


def made_after(row: dict[str, Any], expires_at: str | None) -> dict[str, Any]:
    """The same session under another id."""
    made = copy.deepcopy(row)
    session = "".join(random.choices(ALPHABET, k=len(row["session_id"]["S"])))
    prefix, _, short = row["role_name"]["S"].rpartition("-")
    made["session_id"] = {"S": session}
    made["role_name"] = {"S": f"{prefix}-{session[: len(short)]}"}
    made["outbox"] = {"L": []}
    if expires_at:
        made["expires_at"] = {"S": expires_at}
    return made


def in_the_index(row: dict[str, Any]) -> None:
    row["due_shard"] = {"S": str(sum(row["session_id"]["S"].encode()) % SHARDS)}
    end = datetime.fromisoformat(row["expires_at"]["S"].replace("Z", "+00:00"))
    row["due_at"] = {"N": str(int(end.timestamp()))}


def with_role(iam: Any, like: dict[str, Any], policies: dict[str, str], row: dict[str, Any]) -> None:
    """A role as `provision` makes it, after another session's."""
    name, session = row["role_name"]["S"], row["session_id"]["S"]
    made = iam.create_role(
        RoleName=name,
        Path=like["Path"],
        AssumeRolePolicyDocument=json.dumps(like["AssumeRolePolicyDocument"]),
        PermissionsBoundary=like["PermissionsBoundary"]["PermissionsBoundaryArn"],
        Tags=[tag if tag["Key"] != "sorry:session" else {**tag, "Value": session} for tag in like["Tags"]],
    )["Role"]
    for policy, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)
    fields = row["role"]["M"]
    for field, value in fields.items():
        if value.get("S", "").startswith("arn:"):
            fields[field] = {"S": made["Arn"]}
        elif value.get("S", "").startswith("AROA"):
            fields[field] = {"S": made["RoleId"]}


def main() -> None:
    asked = json.load(sys.stdin)
    dynamo, iam = client("dynamodb", asked), client("iam", asked)
    rows = [made_after(asked["row"], asked["expires_at"]) for _ in range(asked["count"])]
    with ThreadPoolExecutor(8) as pool:
        if asked["live"]:
            like = iam.get_role(RoleName=asked["row"]["role_name"]["S"])["Role"]
            names = iam.list_role_policies(RoleName=like["RoleName"])["PolicyNames"]
            policies = {
                name: json.dumps(iam.get_role_policy(RoleName=like["RoleName"], PolicyName=name)["PolicyDocument"])
                for name in names
            }
            list(pool.map(lambda row: with_role(iam, like, policies, row), rows))
            for row in rows:
                in_the_index(row)
        batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]

        def write(batch: list[dict[str, Any]]) -> None:
            left = {TABLE: [{"PutRequest": {"Item": row}} for row in batch]}
            while left:
                left = dynamo.batch_write_item(RequestItems=left).get("UnprocessedItems")

        list(pool.map(write, batches))


if __name__ == "__main__":
    main()
