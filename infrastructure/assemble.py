#!/usr/bin/env python3
"""Assembles the one template that is deployed, from infrastructure/template.yaml and the files that it names.

    assemble.py OUTPUT [--revision TEXT]

What it does, and no more:

* `Fn::Transform: {Name: AWS::Include, Parameters: {Location: FILE}}` is replaced by the contents of FILE, as CloudFormation does
  with a file in S3. Here the files lie beside the template, so that what was linted is what is deployed, in one piece.
* `DefinitionS3Location: FILE` of a state machine becomes its `DefinitionString`. (`aws cloudformation package` would upload FILE;
  as a `Definition`, numbers could arrive as strings.)
* The resource `ApiDeployment` is renamed to `ApiDeployment<digest>`, the digest taken over the API document and the revision. A
  deployment of an API is a snapshot and cannot be changed: without a new one, the stage would go on serving the old document,
  resource policy included.

The result is the same for AWS and for the local AWS. Needs PyYAML.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import yaml

DEPLOYMENT = "ApiDeployment"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (`!Ref`, `!GetAtt a.b`) as their long forms.

    A name that stands twice in one mapping is an error: the second would silently replace the first, which may be what denies.
    """

    def construct_mapping(self, node, deep=False):
        seen = set()
        for name, _ in node.value:
            if name.value in seen:
                sys.exit(f"error: `{name.value}` stands twice\n{name.start_mark}")
            seen.add(name.value)
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):
    """Writes long strings in one piece, and no aliases: CloudFormation does not read them."""

    def ignore_aliases(self, data):
        return True


def short_form(loader, suffix, node):
    """`!Name value` as `{"Fn::Name": value}`."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_form)
# Dates stay text: `Version: 2012-10-17` is a name, not a day.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path):
    """A YAML or JSON file; JSON is YAML."""
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, Loader)


def include(node, folder, included):
    """`node` with every include replaced; `included` collects the files."""
    if isinstance(node, list):
        return [include(item, folder, included) for item in node]
    if not isinstance(node, dict):
        return node
    transform = node.get("Fn::Transform")
    if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
        if len(node) > 1:
            sys.exit("error: an include stands beside other members; give it an object of its own")
        path = (folder / transform["Parameters"]["Location"]).resolve()
        included.append(path)
        return include(read(path), path.parent, included)
    return {key: include(value, folder, included) for key, value in node.items()}


def inline_state_machines(resources, folder, included):
    """State machines whose definition is a local file carry it themselves."""
    for resource in resources.values():
        properties = resource.get("Properties", {})
        location = properties.get("DefinitionS3Location")
        if resource["Type"] == "AWS::StepFunctions::StateMachine" and isinstance(location, str):
            path = (folder / location).resolve()
            included.append(path)
            del properties["DefinitionS3Location"]
            definition = json.loads(path.read_text(encoding="utf-8"))
            properties["DefinitionString"] = json.dumps(definition, separators=(",", ":"))


def rename(node, old, new):
    """`node` with the logical id `old` called `new`, wherever it is referred to."""
    if isinstance(node, list):
        return [rename(item, old, new) for item in node]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": old}:
        return {"Ref": new}
    return {key: rename(value, old, new) for key, value in node.items()}


def assemble(template_path, revision):
    """The assembled template, and the files it was made of."""
    folder = template_path.parent
    included = [template_path]
    template = include(read(template_path), folder, included)
    resources = template["Resources"]
    inline_state_machines(resources, folder, included)

    snapshot = json.dumps([resources["Api"], revision], sort_keys=True)
    deployment = DEPLOYMENT + hashlib.sha256(snapshot.encode()).hexdigest()[:12]
    template["Resources"] = {
        (deployment if name == DEPLOYMENT else name): rename(resource, DEPLOYMENT, deployment)
        for name, resource in resources.items()
    }
    return template, included


def main():
    parser = argparse.ArgumentParser(description="Assembles the template that is deployed.")
    parser.add_argument("output", type=pathlib.Path, help="file to write")
    parser.add_argument("--revision", default="", help="as the parameter Revision: another one redeploys the stage")
    arguments = parser.parse_args()
    source = pathlib.Path(__file__).resolve().with_name("template.yaml")
    template, included = assemble(source, arguments.revision)
    root = source.parent.parent
    names = ", ".join(str(path.relative_to(root)) for path in included)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", encoding="utf-8") as file:
        file.write(f"# Made by infrastructure/assemble.py of {names}. Change those.\n")
        yaml.dump(template, file, Dumper, sort_keys=False, width=130, allow_unicode=True)


if __name__ == "__main__":
    main()
