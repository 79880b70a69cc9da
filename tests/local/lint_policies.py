"""Lints all IAM policies of the project: `node/lint_policies.mjs` says what is looked for.

    lint_policies.py TEMPLATE

TEMPLATE is the assembled template (`infrastructure/assemble.py`). Its policies are read out of it, each as CloudFormation would
make it, once with all conditions of the template met and once with none; beside them the tiers' policies and the sample of a
service control policy.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
LINTER = Path(__file__).resolve().parent / "node" / "lint_policies.mjs"
ACCOUNT = "123456789012"
REGION = "eu-central-1"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "sorry",
    "AWS::URLSuffix": "amazonaws.com",
}
# Parameters and attributes as they look; nothing that is linted depends on more of them.
VALUES = {
    "AdministratorArns": [f"arn:aws:iam::{ACCOUNT}:role/platform"],
    "IdentityProviderRoleArns": [f"arn:aws:iam::{ACCOUNT}:role/people"],
    "Api": "abcdefghij",
    "AlertTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:sorry-alerts",
    "StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:sorry-session",
}
ATTRIBUTES = {
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "AWS::Events::EventBus": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{{name}}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{name}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/sorry/service/{{name}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
}
# What stands in the tiers' templates; `crates/policy/src/template.rs` fills it in.
TIER_VARIABLES = {
    "account": ACCOUNT,
    "namespace": "sue",
    "partition": "aws",
    "project": "apollo",
    "region": REGION,
    "session": "0123456789abcdef",
}
NOTHING = object()


class Stack:
    """A template with its functions worked out."""

    def __init__(self, template: dict[str, Any], conditions_met: bool) -> None:
        self.resources = template["Resources"]
        self.conditions_met = conditions_met

    def attribute(self, resource: str) -> str:
        """The ARN of a resource: the one attribute that the policies ask for."""
        found = self.resources[resource]
        return ATTRIBUTES[found["Type"]].format(name=f"sorry-{resource.lower()}")

    def named(self, text: str) -> str:
        """`${…}` in the text of `Fn::Sub`. `${!…}` is a policy variable, which stays."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name.endswith(".Arn"):
                return self.attribute(name.removesuffix(".Arn"))
            return self.reference(name)

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NOTHING
        return {**PSEUDO_PARAMETERS, **VALUES}.get(name, f"sorry-{name.lower()}")

    def resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            items = [self.resolved(item) for item in node]
            return [item for item in items if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Ref", name)]:
                return self.reference(name)
            case [("Fn::Sub", text)]:
                return self.named(text)
            case [("Fn::GetAtt", [resource, "Arn"])]:
                return self.attribute(resource)
            case [("Fn::If", [_, met, otherwise])]:
                return self.resolved(met if self.conditions_met else otherwise)
            case [(function, _)] if function.startswith("Fn::"):
                raise ValueError(f"{function} in a policy: teach this script what it gives")
        members = {key: self.resolved(value) for key, value in node.items()}
        return {key: value for key, value in members.items() if value is not NOTHING}

    def policies(self) -> Iterator[dict[str, Any]]:
        for name, resource in self.resources.items():
            for place, node in documents(resource.get("Properties", {})):
                kind = "resource"
                if place == "AssumeRolePolicyDocument":
                    kind = "trust"
                elif resource["Type"].startswith("AWS::IAM::"):
                    kind = "identity"
                # Boundaries are `Allow *` and denies; the roles are the service's own.
                narrow = resource["Type"] == "AWS::IAM::Role"
                yield {"name": f"{name} ({place})", "kind": kind, "narrow": narrow, "policy": self.resolved(node)}


def documents(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """All policy documents, each with the name of the member it stands in: whatever has statements."""
    if isinstance(node, dict):
        if "Statement" in node:
            yield place, node
        else:
            for key, value in node.items():
                yield from documents(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from documents(item, place)


def tiers() -> Iterator[dict[str, Any]]:
    for path in sorted((PROJECT / "policy_templates").glob("*.json")):
        text = re.sub(r"\$\{(\w+)\}", lambda match: TIER_VARIABLES[match[1]], path.read_text(encoding="utf-8"))
        policy = json.loads(text)
        if "Statement" in policy:  # a JSON Schema may stand beside them
            yield {"name": f"policy_templates/{path.name}", "kind": "identity", "policy": policy}


def service_control() -> Iterator[dict[str, Any]]:
    path = PROJECT / "infrastructure" / "service-control-policy.json"
    yield {
        "name": f"infrastructure/{path.name}",
        "kind": "service-control",
        "policy": json.loads(path.read_text(encoding="utf-8")),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("template", type=Path, help="the assembled template")
    template = yaml.safe_load(parser.parse_args().template.read_text(encoding="utf-8"))
    found = [*tiers(), *service_control()]
    for conditions_met in (True, False):
        found += [policy for policy in Stack(template, conditions_met).policies() if policy not in found]
    done = subprocess.run(["node", str(LINTER)], input=json.dumps(found), text=True, check=False)
    if done.returncode == 0:
        print(f"{len(found)} policies: nothing found", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
