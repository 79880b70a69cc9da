"""Records how this version writes things down: every version of every row of lives that pass through every state, and what the
workflow was given.

    record.py --binaries target/debug --output tests/recorded/v1

It deploys to a local AWS of its own, lends sessions with the `sorry` command, and makes some of them fail. Rows come from a
stream of the table, so passing states are seen, too. To be run once for a version, before the next one is begun:
README.md says when.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "local"))

import local_aws  # noqa: E402

PATIENCE_SECONDS = 120
TABLE = "sorry-sessions"


class Deployment:
    """A local AWS with the deployment on it, and its administrator's clients."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.instance = local_aws.Instance(folder)
        self.sorry_path = binaries / "sorry"
        command = [
            sys.executable,
            str(PROJECT / "tests/local/local_aws.py"),
            "up",
            "--state",
            str(folder),
            "--binaries",
            str(binaries),
        ]
        subprocess.run([*command, "--watch-parent", str(os.getpid()), "--set", "RequireMfa=false"], check=True)
        self.outputs = self.instance.outputs()
        self.home = folder / "home"
        self.home.mkdir()

    def client(self, service: str) -> Any:
        keys = self.outputs["administrator"]
        return local_aws.client(service, self.outputs["endpoint_url"], keys["access_key_id"], keys["secret_access_key"])

    def sorry(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            **local_aws.command_environment(self.instance, local_aws.CALLER),
        }
        return subprocess.run([str(self.sorry_path), *arguments], env=environment, capture_output=True, text=True, check=False)

    def request(self, tier: str, window: str, *more: str) -> str | None:
        """The id of a session that became ACTIVE; nothing if it failed, which its row says."""
        asked = ["request", "--tier", tier, "--for", window, "--reason", "to be recorded", "--output", "json", *more]
        done = self.sorry(*asked)
        return json.loads(done.stdout)["session_id"] if done.returncode == 0 else None

    def rows(self) -> dict[str, dict[str, Any]]:
        items = self.client("dynamodb").scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return {item["session_id"]["S"]: item for item in items if "state" in item}

    def until(self, what: str, ask: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ask():
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"{what}: not within {PATIENCE_SECONDS} s; the rows: {[row['state']['S'] for row in self.rows().values()]}"
                )
            time.sleep(0.2)

    def has_state(self, state: str) -> bool:
        return any(row["state"]["S"] == state for row in self.rows().values())


def live(aws: Deployment) -> None:
    """Lives that pass through every state."""
    iam = aws.client("iam")
    # Ended by hand, by its time, and before it was granted: nobody listens to the alert.
    revoked = aws.request("developer", "15m")
    if revoked is None:
        raise SystemExit("no session was granted")
    aws.sorry("revoke", revoked)
    aws.request("read-only", "10s")
    aws.request("break-glass", "15m")
    aws.until("a session is REVOKED", lambda: aws.has_state("REVOKED"))
    aws.until("a session is EXPIRED", lambda: aws.has_state("EXPIRED"))
    aws.until("a session is FAILED", lambda: aws.has_state("FAILED"))
    # With alerts, once somebody listens.
    queue = aws.client("sqs").create_queue(QueueName="security")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=aws.outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)
    alerted = aws.request("break-glass", "15m")
    aws.request("admin", "1h")
    # A clean-up that IAM refuses is given up.
    policy = iam.get_role_policy(RoleName="sorry-function-clean-up", PolicyName="calls")["PolicyDocument"]
    crippled = {**policy, "Statement": [one for one in policy["Statement"] if one.get("Sid") != "TakePrincipalsAway"]}
    iam.put_role_policy(RoleName="sorry-function-clean-up", PolicyName="calls", PolicyDocument=json.dumps(crippled))
    if alerted:
        aws.sorry("revoke", alerted)
    aws.until("a session is CLEAN_UP_FAILED", lambda: aws.has_state("CLEAN_UP_FAILED"))


def images(aws: Deployment) -> list[dict[str, Any]]:
    """Every version of every row, as the table had it."""
    streams = aws.client("dynamodbstreams")
    found = []
    for stream in streams.list_streams(TableName=TABLE)["Streams"]:
        for shard in streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]:
            iterator = streams.get_shard_iterator(
                StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                answer = streams.get_records(ShardIterator=iterator)
                found += [record["dynamodb"]["NewImage"] for record in answer["Records"] if "NewImage" in record["dynamodb"]]
                iterator = answer.get("NextShardIterator") if answer["Records"] else None
    return [image for image in found if "state" in image]


def inputs(aws: Deployment) -> list[dict[str, Any]]:
    """What every execution was started with, and what each of its states was given."""
    states = aws.client("stepfunctions")
    found = []
    for execution in states.list_executions(stateMachineArn=aws.outputs["StateMachineArn"])["executions"]:
        arn = execution["executionArn"]
        described = states.describe_execution(executionArn=arn)
        entered = []
        for event in states.get_execution_history(executionArn=arn, maxResults=1000)["events"]:
            if "stateEnteredEventDetails" in event:
                details = event["stateEnteredEventDetails"]
                entered.append({"state": details["name"], "input": json.loads(details.get("input") or "{}")})
        found.append({"name": described["name"], "input": json.loads(described["input"]), "entered": entered})
    return found


def chosen(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row of each form: state, tier, and which attributes it has."""
    forms = {}
    for row in rows:
        form = (row["state"]["S"], row["tier"]["S"], *sorted(row), bool(row["outbox"]["L"]))
        forms.setdefault(form, row)
    return list(forms.values())


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sorry-record-") as folder:
        aws = Deployment(Path(folder), arguments.binaries.resolve())
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        aws.client("dynamodb").update_table(TableName=TABLE, StreamSpecification=stream)
        live(aws)
        rows = chosen(images(aws))
        arguments.output.mkdir(parents=True, exist_ok=True)
        write(arguments.output / "rows.json", rows)
        write(arguments.output / "executions.json", inputs(aws))
        registry = aws.client("dynamodb").scan(TableName="sorry-registry", ConsistentRead=True)["Items"]
        write(arguments.output / "registry.json", [item for item in registry if not item["key"]["S"].startswith("request#")])
        shutil.copy(PROJECT / "infrastructure/session.asl.json", arguments.output / "session.asl.json")
        print(sorted({row["state"]["S"] for row in rows}), len(rows))


if __name__ == "__main__":
    main()
