"""One probe for every patch of `strict/`, run against the strict server *and* against plain MiniStack.

A probe states a fact of AWS. Against the strict server it must hold. Against plain MiniStack it must not: if it holds
there too, a newer MiniStack has closed the gap, and the patch can go. The facts at the end hold without a patch, and
`sorry` relies on them.

    python tests/local/probes.py [-v] [-k name]
"""

import io
import itertools
import json
import shutil
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True

import boto3  # noqa: E402
from botocore.auth import SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

import server  # noqa: E402
import totp  # noqa: E402

ACCOUNT = server.ACCOUNT_ID
_numbers = itertools.count(1)

# A function that answers with the event it got, and lists a table first if the event names one.
_BOOTSTRAP = f"""#!{sys.executable}
import json, os, urllib.request
import boto3
runtime = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(runtime + "next") as reply:
        request_id, event = reply.headers["Lambda-Runtime-Aws-Request-Id"], json.load(reply)
    answer = {{"statusCode": 200, "body": json.dumps(event)}}
    if "count" in event:
        try:
            boto3.client("dynamodb").describe_table(TableName=event["count"])
            answer = "allowed"
        except Exception as error:
            answer = error.response["Error"]["Code"]
    urllib.request.urlopen(runtime + request_id + "/response", data=json.dumps(answer).encode()).read()
"""


def name(word: str) -> str:
    """A name that no other probe uses."""
    return f"{word}-{next(_numbers)}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Resource": "*", **s} for s in statements]})


def allow(*actions: str, **rest: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), **rest}


def trust(principal: str, *actions: str, condition: dict | None = None) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions or ["sts:AssumeRole"])}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def service_trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> None:
    """The call must fail with this code."""
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{call.__name__} was refused with {found}, not {code}: {error}"
    else:
        raise AssertionError(f"{call.__name__} was allowed")


def allowed(call: Callable[..., Any], **arguments: Any) -> Any:
    """The call must succeed; its answer."""
    try:
        return call(**arguments)
    except ClientError as error:
        raise AssertionError(f"{call.__name__} was refused: {error}") from error


@dataclass
class Principal:
    """Somebody with credentials."""

    aws: "LocalAws"
    arn: str
    credentials: dict[str, str]
    name: str = ""

    def client(self, service: str) -> Any:
        return self.aws.client(service, self.credentials)

    def assume(self, role_arn: str, session: str = "probe", **arguments: Any) -> "Principal":
        answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session, **arguments)
        return Principal(self.aws, answer["AssumedRoleUser"]["Arn"], session_credentials(answer), session)


def session_credentials(answer: dict[str, Any]) -> dict[str, str]:
    made = answer["Credentials"]
    return {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }


_ROOT = {"aws_access_key_id": server.ROOT_KEY_ID, "aws_secret_access_key": server.ROOT_SECRET}


@dataclass
class LocalAws:
    """One running server and what probes need of it."""

    directory: Path
    plain: bool
    port: int = 0
    process: Any = None
    _clients: dict[Any, Any] = field(default_factory=dict)

    def start(self) -> None:
        self.port = server.free_port()
        self.process = server.start(self.directory, self.port, plain=self.plain)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        credentials = credentials or _ROOT
        key = (service, credentials["aws_access_key_id"])
        if key not in self._clients:
            self._clients[key] = _SESSION.client(
                service,
                endpoint_url=server.endpoint_url(self.port),
                region_name=server.REGION,
                # Bad values must reach the server: botocore would refuse some by itself.
                config=Config(retries={"total_max_attempts": 1}, proxies={}, parameter_validation=False),
                **credentials,
            )
        return self._clients[key]

    @property
    def iam(self) -> Any:
        return self.client("iam")

    def user(self, *statements: dict[str, Any], path: str = "/", tags: dict[str, str] | None = None) -> Principal:
        """A new user with one inline policy, and a key."""
        user = name("user")
        tag_list = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        made = self.iam.create_user(UserName=user, Path=path, Tags=tag_list)["User"]
        if statements:
            self.iam.put_user_policy(UserName=user, PolicyName="probe", PolicyDocument=policy(*statements))
        key = self.iam.create_access_key(UserName=user)["AccessKey"]
        credentials = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return Principal(self, made["Arn"], credentials, user)

    def role(self, trust_policy: str, *statements: dict[str, Any], path: str = "/", **arguments: Any) -> str:
        """A new role with one inline policy; its ARN."""
        role = name("role")
        made = self.iam.create_role(RoleName=role, Path=path, AssumeRolePolicyDocument=trust_policy, **arguments)["Role"]
        if statements:
            self.iam.put_role_policy(RoleName=role, PolicyName="probe", PolicyDocument=policy(*statements))
        return made["Arn"]

    def managed_policy(self, *statements: dict[str, Any], path: str = "/") -> str:
        made = self.iam.create_policy(PolicyName=name("policy"), Path=path, PolicyDocument=policy(*statements))
        return made["Policy"]["Arn"]

    def function(self, *statements: dict[str, Any]) -> str:
        """A new function (see _BOOTSTRAP) whose role has one inline policy; its ARN."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o100755 << 16
            zipped.writestr(entry, _BOOTSTRAP)
        role = self.role(service_trust("lambda.amazonaws.com"), *statements)
        return self.client("lambda").create_function(
            FunctionName=name("function"),
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=role,
            Code={"ZipFile": archive.getvalue()},
            Timeout=20,
        )["FunctionArn"]

    def deploy(self, resources: dict[str, Any], outputs: dict[str, Any] | None = None) -> tuple[str, dict[str, str]]:
        """Makes a stack; its last status and its outputs."""
        stack = name("stack")
        formation = self.client("cloudformation")
        template = json.dumps({"Resources": resources, "Outputs": outputs or {}})
        formation.create_stack(StackName=stack, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
        while True:
            found = formation.describe_stacks(StackName=stack)["Stacks"][0]
            if not found["StackStatus"].endswith("_IN_PROGRESS"):
                return found["StackStatus"], {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
            time.sleep(0.02)

    def call_api(self, caller: Principal, api_id: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """A signed GET to stage `v1`; status and body."""
        url = f"{server.endpoint_url(self.port)}/_aws/execute-api/{api_id}/v1{path}"
        request = AWSRequest(method="GET", url=url, headers=headers or {})
        keys = caller.credentials
        SigV4Auth(
            Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token")),
            "execute-api",
            server.REGION,
        ).add_auth(request)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, headers=dict(request.headers)), timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def api(self, body: dict[str, Any]) -> str:
        """Deploys an OpenAPI document as stage `v1`; the API's id."""
        status, outputs = self.deploy(
            {
                "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": name("api"), "Body": body}},
                "Deployment": {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": {"Ref": "Api"}}},
                "Stage": {
                    "Type": "AWS::ApiGateway::Stage",
                    "Properties": {
                        "RestApiId": {"Ref": "Api"},
                        "DeploymentId": {"Ref": "Deployment"},
                        "StageName": "v1",
                    },
                },
            },
            {"Id": {"Value": {"Ref": "Api"}}},
        )
        assert status == "CREATE_COMPLETE", status
        return outputs["Id"]


def open_api(function_arn: str, policy_document: dict[str, Any] | None = None) -> dict[str, Any]:
    uri = f"arn:aws:apigateway:{server.REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    method = {
        "security": [{"sigv4": []}],
        "x-amazon-apigateway-integration": {"type": "aws_proxy", "httpMethod": "POST", "uri": uri},
        "responses": {"200": {"description": "the event"}},
    }
    scheme = {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"}
    document: dict[str, Any] = {
        "openapi": "3.0.1",
        "info": {"title": "probe", "version": "1"},
        "components": {"securitySchemes": {"sigv4": scheme}},
        "paths": {"/open": {"get": method}, "/admin": {"get": method}},
    }
    if policy_document:
        document["x-amazon-apigateway-policy"] = policy_document
    return document


_SESSION = boto3.Session()
_STRICT: LocalAws
_PLAIN: LocalAws
_DIRECTORY: Path


def setUpModule() -> None:
    global _STRICT, _PLAIN, _DIRECTORY
    _DIRECTORY = Path(tempfile.mkdtemp(prefix="sorry-probes-"))
    for word in ("strict", "plain"):
        (_DIRECTORY / word).mkdir()
    _STRICT, _PLAIN = LocalAws(_DIRECTORY / "strict", plain=False), LocalAws(_DIRECTORY / "plain", plain=True)
    unittest.addModuleCleanup(_tear_down)
    _STRICT.start()
    _PLAIN.start()


def _tear_down() -> None:
    for aws in (_STRICT, _PLAIN):
        if aws.process:
            server.stop(aws.process)
    shutil.rmtree(_DIRECTORY, ignore_errors=True)


class Patches(unittest.TestCase):
    """Filled by @probe."""


class AlreadySo(unittest.TestCase):
    """Filled by @fact."""


def probe(check: Callable[[LocalAws], None]) -> Callable[[LocalAws], None]:
    """Makes a test of a fact that only the strict server knows."""

    def test(case: unittest.TestCase) -> None:
        check(_STRICT)
        try:
            check(_PLAIN)
        except AssertionError:
            return
        case.fail(f"plain MiniStack does this too: the patch is no longer needed ({check.__doc__})")

    test.__doc__ = check.__doc__
    setattr(Patches, f"test_{check.__name__}", test)
    return check


def fact(check: Callable[[LocalAws], None]) -> Callable[[LocalAws], None]:
    """Makes a test of a fact that needs no patch."""

    def test(_case: unittest.TestCase) -> None:
        check(_STRICT)

    test.__doc__ = check.__doc__
    setattr(AlreadySo, f"test_{check.__name__}", test)
    return check


# --- policy variables


@probe
def variables_in_resources(aws: LocalAws) -> None:
    """`${aws:username}` and `${aws:PrincipalTag/…}` in Resource stand for the caller's own."""
    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    caller = aws.user(allow("iam:GetUser", Resource=own))
    other = aws.user()
    allowed(caller.client("iam").get_user, UserName=caller.name)
    refused("AccessDenied", caller.client("iam").get_user, UserName=other.name)

    tagged = aws.user(
        allow("sqs:GetQueueUrl", Resource=f"arn:aws:sqs:*:{ACCOUNT}:${{aws:PrincipalTag/sorry:namespace}}-*"),
        tags={"sorry:namespace": "sue"},
    )
    for queue in ("sue-queue", "ann-queue"):
        aws.client("sqs").create_queue(QueueName=queue)
    allowed(tagged.client("sqs").get_queue_url, QueueName="sue-queue")
    refused("AccessDenied", tagged.client("sqs").get_queue_url, QueueName="ann-queue")


@probe
def variables_in_conditions(aws: LocalAws) -> None:
    """`sts:RoleSessionName = ${aws:username}` in a trust policy; defaults; `${*}` is no wildcard."""
    caller = aws.user(allow("sts:AssumeRole"))
    condition = {"StringEquals": {"sts:RoleSessionName": "${aws:username}"}}
    role = aws.role(trust(caller.arn, condition=condition))
    allowed(caller.assume, role_arn=role, session=caller.name)
    refused("AccessDenied", caller.assume, role_arn=role, session="somebody-else")

    condition = {"StringEquals": {"sts:RoleSessionName": "${aws:PrincipalTag/none, 'nobody'}"}}
    role = aws.role(trust(caller.arn, condition=condition))
    allowed(caller.assume, role_arn=role, session="nobody")

    condition = {"StringLike": {"sts:RoleSessionName": "a${*}"}}
    role = aws.role(trust(caller.arn, condition=condition))
    refused("AccessDenied", caller.assume, role_arn=role, session="ab")
    condition = {"StringLike": {"sts:ExternalId": "a${*}"}}
    role = aws.role(trust(caller.arn, condition=condition))
    refused("AccessDenied", caller.assume, role_arn=role, ExternalId="a:b")


# --- IAM: ARNs and condition keys


@probe
def paths_in_iam_arns(aws: LocalAws) -> None:
    """A policy for `role/sorry/session/*` reaches roles of that path alone."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/sorry/session/*"
    caller = aws.user(allow("iam:CreateRole", "iam:GetRole", "iam:DeleteRole", Resource=arn))
    iam = caller.client("iam")
    document = service_trust("ec2.amazonaws.com")
    inside, outside = name("inside"), aws.role(document, path="/sorry/service/").rpartition("/")[2]
    allowed(iam.create_role, RoleName=inside, Path="/sorry/session/sue/", AssumeRolePolicyDocument=document)
    refused("AccessDenied", iam.create_role, RoleName=name("r"), Path="/sorry/", AssumeRolePolicyDocument=document)
    allowed(iam.get_role, RoleName=inside)
    refused("AccessDenied", iam.get_role, RoleName=outside)
    refused("AccessDenied", iam.delete_role, RoleName=outside)
    allowed(iam.delete_role, RoleName=inside)
    refused("AccessDenied", iam.get_role, RoleName=inside)  # gone: its path is nobody's to know


@probe
def instance_profile_arns(aws: LocalAws) -> None:
    """RemoveRoleFromInstanceProfile is decided on the instance profile, not on the role."""
    role = aws.role(service_trust("ec2.amazonaws.com"), path="/sorry/session/").rpartition("/")[2]
    profile = name("profile")
    aws.iam.create_instance_profile(InstanceProfileName=profile, Path="/some/")
    aws.iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    action = "iam:RemoveRoleFromInstanceProfile"
    by_role = aws.user(allow(action, Resource=f"arn:aws:iam::{ACCOUNT}:role/*"))
    by_profile = aws.user(allow(action, Resource=f"arn:aws:iam::{ACCOUNT}:instance-profile/some/*"))
    arguments = {"InstanceProfileName": profile, "RoleName": role}
    refused("AccessDenied", by_role.client("iam").remove_role_from_instance_profile, **arguments)
    allowed(by_profile.client("iam").remove_role_from_instance_profile, **arguments)


@probe
def permissions_boundary_key(aws: LocalAws) -> None:
    """`iam:PermissionsBoundary`: of the request for CreateRole, of the role for PutRolePolicy; unknown to GetRole."""
    boundary = aws.managed_policy(allow("*"))
    condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    caller = aws.user(allow("iam:CreateRole", "iam:PutRolePolicy", "iam:GetRole", Condition=condition))
    iam, document, made = caller.client("iam"), service_trust("ec2.amazonaws.com"), name("bounded")
    refused("AccessDenied", iam.create_role, RoleName=name("r"), AssumeRolePolicyDocument=document)
    allowed(iam.create_role, RoleName=made, AssumeRolePolicyDocument=document, PermissionsBoundary=boundary)
    allowed(iam.put_role_policy, RoleName=made, PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    unbounded = aws.role(document).rpartition("/")[2]
    refused("AccessDenied", iam.put_role_policy, RoleName=unbounded, PolicyName="p", PolicyDocument=policy(allow("s3:*")))
    refused("AccessDenied", iam.get_role, RoleName=made)


@probe
def policy_arn_key(aws: LocalAws) -> None:
    """`iam:PolicyARN` limits which policy may be attached."""
    good, bad = aws.managed_policy(allow("s3:*")), aws.managed_policy(allow("*"))
    caller = aws.user(allow("iam:AttachRolePolicy", Condition={"ArnEquals": {"iam:PolicyARN": good}}))
    role = aws.role(service_trust("ec2.amazonaws.com")).rpartition("/")[2]
    allowed(caller.client("iam").attach_role_policy, RoleName=role, PolicyArn=good)
    refused("AccessDenied", caller.client("iam").attach_role_policy, RoleName=role, PolicyArn=bad)


@probe
def resource_tag_keys(aws: LocalAws) -> None:
    """`iam:ResourceTag/…` is the role's tag."""
    condition = {"StringEquals": {"iam:ResourceTag/sorry:namespace": "sue"}}
    caller = aws.user(allow("iam:GetRole", Condition=condition))
    document = service_trust("ec2.amazonaws.com")
    hers = aws.role(document, Tags=[{"Key": "sorry:namespace", "Value": "sue"}]).rpartition("/")[2]
    his = aws.role(document, Tags=[{"Key": "sorry:namespace", "Value": "bob"}]).rpartition("/")[2]
    allowed(caller.client("iam").get_role, RoleName=hers)
    refused("AccessDenied", caller.client("iam").get_role, RoleName=his)


@probe
def principal_arn_is_the_role(aws: LocalAws) -> None:
    """`aws:PrincipalArn` of a role session is the role's ARN, path included."""
    caller = aws.user(allow("sts:AssumeRole"))
    arn = f"arn:aws:iam::{ACCOUNT}:role/sorry/session/*"
    condition = {"ArnLike": {"aws:PrincipalArn": arn}}
    role = aws.role(trust(caller.arn), allow("sqs:ListQueues", Condition=condition), path="/sorry/session/")
    allowed(caller.assume(role).client("sqs").list_queues)


@probe
def tags_need_permission(aws: LocalAws) -> None:
    """CreateRole with tags needs iam:TagRole."""
    document, tags = service_trust("ec2.amazonaws.com"), [{"Key": "sorry:session", "Value": "s"}]
    without = aws.user(allow("iam:CreateRole")).client("iam")
    allowed(without.create_role, RoleName=name("r"), AssumeRolePolicyDocument=document)
    refused("AccessDenied", without.create_role, RoleName=name("r"), AssumeRolePolicyDocument=document, Tags=tags)
    arn = f"arn:aws:iam::{ACCOUNT}:role/sorry/session/*"
    condition = {"StringEquals": {"aws:RequestTag/sorry:session": "s"}}
    caller = aws.user(allow("iam:CreateRole"), allow("iam:TagRole", Resource=arn, Condition=condition)).client("iam")
    allowed(caller.create_role, RoleName=name("r"), Path="/sorry/session/", AssumeRolePolicyDocument=document, Tags=tags)


@probe
def pass_role_is_needed(aws: LocalAws) -> None:
    """A role is handed to a service only by somebody with iam:PassRole on it, to that service."""
    role = aws.role(service_trust("states.amazonaws.com"), path="/sorry/service/")
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})

    def create(*statements: dict[str, Any]) -> Callable[[], Any]:
        caller = aws.user(allow("states:CreateStateMachine"), *statements)
        states = caller.client("stepfunctions")
        return lambda: states.create_state_machine(name=name("machine"), definition=definition, roleArn=role)

    to_states = {"StringEquals": {"iam:PassedToService": "states.amazonaws.com"}}
    to_lambda = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    refused("AccessDeniedException", create())
    refused("AccessDeniedException", create(allow("iam:PassRole", Resource=role, Condition=to_lambda)))
    allowed(create(allow("iam:PassRole", Resource=role, Condition=to_states)))


# --- sessions


@probe
def source_identity_in_trust(aws: LocalAws) -> None:
    """A trust policy can ask for one source identity, and must allow setting it at all."""
    caller = aws.user(allow("sts:AssumeRole", "sts:SetSourceIdentity"))
    condition = {"StringEquals": {"sts:SourceIdentity": "s1"}}
    role = aws.role(trust(caller.arn, "sts:AssumeRole", "sts:SetSourceIdentity", condition=condition))
    allowed(caller.assume, role_arn=role, SourceIdentity="s1")
    refused("AccessDenied", caller.assume, role_arn=role, SourceIdentity="s2")
    refused("AccessDenied", caller.assume, role_arn=role)
    only_assume = aws.role(trust(caller.arn))
    allowed(caller.assume, role_arn=only_assume)
    refused("AccessDenied", caller.assume, role_arn=only_assume, SourceIdentity="s1")
    answer = caller.client("sts").assume_role(RoleArn=role, RoleSessionName="probe", SourceIdentity="s1")
    assert answer.get("SourceIdentity") == "s1", answer.keys()


@probe
def source_identity_in_own_policy(aws: LocalAws) -> None:
    """The caller's own policy must allow sts:SetSourceIdentity."""
    caller = aws.user(allow("sts:AssumeRole"))
    role = aws.role(trust(caller.arn, "sts:AssumeRole", "sts:SetSourceIdentity"))
    allowed(caller.assume, role_arn=role)
    refused("AccessDenied", caller.assume, role_arn=role, SourceIdentity="s1")


@probe
def source_identity_later(aws: LocalAws) -> None:
    """`aws:SourceIdentity` is there in every later request of the session."""
    caller = aws.user(allow("sts:AssumeRole", "sts:SetSourceIdentity"))
    deny = {"Effect": "Deny", "Action": "*", "Condition": {"StringEquals": {"aws:SourceIdentity": "revoked"}}}
    role = aws.role(trust(caller.arn, "sts:AssumeRole", "sts:SetSourceIdentity"), allow("sqs:ListQueues"), deny)
    allowed(caller.assume(role, SourceIdentity="fine").client("sqs").list_queues)
    refused("AccessDenied", caller.assume(role, SourceIdentity="revoked").client("sqs").list_queues)


@probe
def source_identity_stays(aws: LocalAws) -> None:
    """A chained session keeps the source identity, cannot change it, and needs leave to carry it on."""
    setting = ("sts:AssumeRole", "sts:SetSourceIdentity")
    caller = aws.user(allow(*setting))
    first = aws.role(trust(caller.arn, *setting), allow(*setting))
    carries = {"StringEquals": {"aws:SourceIdentity": "s1"}}
    second = aws.role(trust(first, *setting), allow("sqs:ListQueues", Condition=carries))
    session = caller.assume(first, SourceIdentity="s1")
    refused("AccessDenied", session.assume, role_arn=second, SourceIdentity="s2")
    allowed(session.assume(second).client("sqs").list_queues)
    closed = aws.role(trust(first))
    refused("AccessDenied", session.assume, role_arn=closed)


@probe
def source_identity_carried_is_not_being_set(aws: LocalAws) -> None:
    """A source identity that is carried on is `aws:SourceIdentity` to a trust policy, and not `sts:SourceIdentity`."""
    setting = ("sts:AssumeRole", "sts:SetSourceIdentity")
    caller = aws.user(allow(*setting))
    first = aws.role(trust(caller.arn, *setting), allow(*setting))
    carried = aws.role(trust(first, *setting, condition={"StringEquals": {"aws:SourceIdentity": "s1"}}))
    being_set = aws.role(trust(first, *setting, condition={"StringEquals": {"sts:SourceIdentity": "s1"}}))
    with_it = caller.assume(first, SourceIdentity="s1")
    allowed(with_it.assume, role_arn=carried)
    refused("AccessDenied", with_it.assume, role_arn=being_set)
    refused("AccessDenied", caller.assume(first, SourceIdentity="s2").assume, role_arn=carried)
    refused("AccessDenied", caller.assume(first).assume, role_arn=carried)


@probe
def durations(aws: LocalAws) -> None:
    """AssumeRole refuses under 900 s, over the role's maximum, and over an hour when chained."""
    caller = aws.user(allow("sts:AssumeRole"))
    long = aws.role(trust(caller.arn), allow("sts:AssumeRole"), MaxSessionDuration=43200)
    chained = aws.role(trust(long), MaxSessionDuration=43200)
    short = aws.role(trust(caller.arn))
    allowed(caller.assume, role_arn=long, DurationSeconds=43200)
    allowed(caller.assume, role_arn=short, DurationSeconds=900)
    refused("ValidationError", caller.assume, role_arn=short, DurationSeconds=899)
    refused("ValidationError", caller.assume, role_arn=short, DurationSeconds=3601)
    refused("ValidationError", caller.assume, role_arn=long, DurationSeconds=43201)
    session = caller.assume(long)
    allowed(session.assume, role_arn=chained, DurationSeconds=3600)
    refused("ValidationError", session.assume, role_arn=chained, DurationSeconds=3601)
    refused("ValidationError", caller.client("sts").get_session_token, DurationSeconds=129601)


@probe
def session_tokens(aws: LocalAws) -> None:
    """Credentials of GetSessionToken without MFA can neither call IAM nor get another token."""
    caller = aws.user(allow("*"))
    answer = caller.client("sts").get_session_token()
    session = Principal(aws, caller.arn, session_credentials(answer))
    allowed(session.client("sqs").list_queues)
    allowed(session.client("sts").get_caller_identity)
    refused("AccessDenied", session.client("iam").list_roles)


def _device(aws: LocalAws, user: Principal) -> tuple[str, str]:
    """An MFA device for the user: its serial number and its seed. The codes of the step before and of this one are spent."""
    made = aws.iam.create_virtual_mfa_device(VirtualMFADeviceName=user.name)["VirtualMFADevice"]
    serial, seed = made["SerialNumber"], made["Base32StringSeed"].decode()
    codes = {"AuthenticationCode1": _code(seed, -1), "AuthenticationCode2": _code(seed, 0)}
    allowed(aws.iam.enable_mfa_device, UserName=user.name, SerialNumber=serial, **codes)
    return serial, seed


def _code(seed: str, steps: int) -> str:
    """The device's code, so many steps from now."""
    try:
        return totp.code(seed, int(time.time()) // totp.STEP + steps)
    except ValueError as error:
        raise AssertionError(f"the seed is not base 32: {error}") from error


def _with_mfa() -> dict[str, dict[str, str]]:
    return {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


@probe
def mfa_devices_are_enabled_by_their_codes(aws: LocalAws) -> None:
    """Two consecutive codes enable a device; others do not."""
    user = aws.user()
    made = aws.iam.create_virtual_mfa_device(VirtualMFADeviceName=user.name)["VirtualMFADevice"]
    serial, seed = made["SerialNumber"], made["Base32StringSeed"].decode()
    enable, ids = aws.iam.enable_mfa_device, {"UserName": user.name, "SerialNumber": serial}
    codes = {"AuthenticationCode1": _code(seed, 0), "AuthenticationCode2": _code(seed, -1)}
    refused("InvalidAuthenticationCode", enable, **ids, **codes)
    codes = {"AuthenticationCode1": _code(seed, -1), "AuthenticationCode2": _code(seed, 0)}
    allowed(enable, **ids, **codes)


@probe
def mfa_codes_are_good_once(aws: LocalAws) -> None:
    """AssumeRole: no code, a wrong one, half of it, somebody else's or a used one is refused; a right one is taken."""
    caller, other = aws.user(allow("sts:AssumeRole")), aws.user(allow("sts:AssumeRole"))
    (serial, seed), (foreign, foreign_seed) = _device(aws, caller), _device(aws, other)
    role = aws.role(trust(caller.arn, condition=_with_mfa()))
    good = _code(seed, 1)
    wrong = f"{(int(good) + 1) % 10**6:06d}"
    refused("AccessDenied", caller.assume, role_arn=role)
    refused("AccessDenied", caller.assume, role_arn=role, SerialNumber=serial, TokenCode=wrong)
    refused("AccessDenied", caller.assume, role_arn=role, SerialNumber=serial)
    refused("AccessDenied", caller.assume, role_arn=role, SerialNumber=foreign, TokenCode=_code(foreign_seed, 1))
    allowed(caller.assume, role_arn=role, SerialNumber=serial, TokenCode=good)
    refused("AccessDenied", caller.assume, role_arn=role, SerialNumber=serial, TokenCode=good)


@probe
def mfa_leaves_no_mark_on_a_role(aws: LocalAws) -> None:
    """Credentials of a role assumed with a code carry no MFA; those of GetSessionToken do, and can call IAM."""
    caller = aws.user(allow("sts:AssumeRole"), allow("iam:ListRoles", Condition=_with_mfa()))
    serial, seed = _device(aws, caller)
    role = aws.role(trust(caller.arn), allow("iam:ListRoles", Condition=_with_mfa()))
    refused("AccessDenied", caller.client("iam").list_roles)
    answer = allowed(caller.client("sts").get_session_token, SerialNumber=serial, TokenCode=_code(seed, 1))
    session = Principal(aws, caller.arn, session_credentials(answer))
    allowed(session.client("iam").list_roles)
    refused("AccessDenied", session.client("sts").get_session_token)
    assumed = allowed(session.assume, role_arn=role)
    refused("AccessDenied", assumed.client("iam").list_roles)


@probe
def mfa_of_a_session_counts_in_trust(aws: LocalAws) -> None:
    """A session of GetSessionToken with a code satisfies a trust policy that asks for MFA, by its age too."""
    caller = aws.user(allow("sts:AssumeRole"))
    serial, seed = _device(aws, caller)
    role = aws.role(trust(caller.arn, condition=_with_mfa() | {"NumericLessThan": {"aws:MultiFactorAuthAge": "60"}}))
    bare = Principal(aws, caller.arn, session_credentials(caller.client("sts").get_session_token()))
    refused("AccessDenied", bare.assume, role_arn=role)
    answer = caller.client("sts").get_session_token(SerialNumber=serial, TokenCode=_code(seed, 1))
    allowed(Principal(aws, caller.arn, session_credentials(answer)).assume, role_arn=role)


@probe
def ones_own_user_needs_no_name(aws: LocalAws) -> None:
    """Without a UserName the caller's own user is meant; a user has two keys at most, and only their own."""
    own = f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"
    actions = ("iam:CreateAccessKey", "iam:ListAccessKeys", "iam:DeleteAccessKey", "iam:ListMFADevices")
    caller, other = aws.user(allow(*actions, Resource=own)), aws.user()
    iam = caller.client("iam")
    made = allowed(iam.create_access_key)["AccessKey"]
    assert made["UserName"] == caller.name, made
    refused("LimitExceeded", iam.create_access_key)
    assert len(allowed(iam.list_access_keys)["AccessKeyMetadata"]) == 2
    refused("NoSuchEntity", iam.delete_access_key, AccessKeyId=other.credentials["aws_access_key_id"])
    allowed(iam.delete_access_key, AccessKeyId=made["AccessKeyId"])
    serial, _ = _device(aws, caller)
    assert [device["SerialNumber"] for device in allowed(iam.list_mfa_devices)["MFADevices"]] == [serial]


# --- IAM: what it accepts and returns


@probe
def trust_names_somebody(aws: LocalAws) -> None:
    """A trust policy that names nobody is malformed; the path is part of the name."""
    user = aws.user(path="/sorry/caller/")
    refused("MalformedPolicyDocument", aws.role, trust_policy=trust(f"arn:aws:iam::{ACCOUNT}:user/nobody"))
    refused("MalformedPolicyDocument", aws.role, trust_policy=trust(f"arn:aws:iam::{ACCOUNT}:user/{user.name}"))
    role = allowed(aws.role, trust_policy=trust(user.arn)).rpartition("/")[2]
    document = trust(f"arn:aws:iam::{ACCOUNT}:role/nobody")
    refused("MalformedPolicyDocument", aws.iam.update_assume_role_policy, RoleName=role, PolicyDocument=document)


@probe
def trust_is_bound_to_the_person(aws: LocalAws) -> None:
    """A user made anew under the same name is a stranger to the trust policy."""
    first = aws.user(allow("sts:AssumeRole"))
    role = aws.role(trust(first.arn))
    allowed(first.assume, role_arn=role)
    key = first.credentials["aws_access_key_id"]
    aws.iam.delete_access_key(UserName=first.name, AccessKeyId=key)
    aws.iam.delete_user_policy(UserName=first.name, PolicyName="probe")
    aws.iam.delete_user(UserName=first.name)
    aws.iam.create_user(UserName=first.name)
    aws.iam.put_user_policy(UserName=first.name, PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole")))
    made = aws.iam.create_access_key(UserName=first.name)["AccessKey"]
    credentials = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    refused("AccessDenied", Principal(aws, first.arn, credentials).assume, role_arn=role)


def _padded(length: int) -> str:
    """A policy of this size, white space apart."""
    empty = policy(allow("s3:GetObject", Sid=""))
    size = len("".join(empty.split()))
    return policy(allow("s3:GetObject", Sid="a" * (length - size))) + " " * 3000


@probe
def inline_policy_sizes(aws: LocalAws) -> None:
    """Inline policies: 10,240 characters of a role together, 2,048 of a user; white space does not count."""
    role = aws.role(service_trust("ec2.amazonaws.com")).rpartition("/")[2]
    allowed(aws.iam.put_role_policy, RoleName=role, PolicyName="a", PolicyDocument=_padded(10000))
    allowed(aws.iam.put_role_policy, RoleName=role, PolicyName="b", PolicyDocument=_padded(240))
    allowed(aws.iam.put_role_policy, RoleName=role, PolicyName="b", PolicyDocument=_padded(239))
    refused("LimitExceeded", aws.iam.put_role_policy, RoleName=role, PolicyName="b", PolicyDocument=_padded(241))
    user = aws.user().name
    allowed(aws.iam.put_user_policy, UserName=user, PolicyName="a", PolicyDocument=_padded(2048))
    refused("LimitExceeded", aws.iam.put_user_policy, UserName=user, PolicyName="a", PolicyDocument=_padded(2049))


@probe
def managed_policy_size(aws: LocalAws) -> None:
    """A managed policy has 6,144 characters at most."""
    allowed(aws.iam.create_policy, PolicyName=name("p"), PolicyDocument=_padded(6144))
    refused("LimitExceeded", aws.iam.create_policy, PolicyName=name("p"), PolicyDocument=_padded(6145))


@probe
def trust_policy_size(aws: LocalAws) -> None:
    """A trust policy has 2,048 characters at most."""
    user = aws.user().arn
    condition = {"StringEquals": {"sts:ExternalId": "x" * 2048}}
    refused("LimitExceeded", aws.role, trust_policy=trust(user, condition=condition))


@probe
def names_and_tags(aws: LocalAws) -> None:
    """Role names: 64 characters, no two that differ only by case; tags without `*`; durations from an hour."""
    create, document = aws.iam.create_role, service_trust("ec2.amazonaws.com")
    rest = {"AssumeRolePolicyDocument": document}
    made = name("Mixed")
    allowed(create, RoleName=made, **rest)
    refused("EntityAlreadyExists", create, RoleName=made.lower(), **rest)
    refused("ValidationError", create, RoleName="r" * 65, **rest)
    tags = [{"Key": "sorry:person", "Value": "sue*"}]
    refused("ValidationError", create, RoleName=name("r"), Tags=tags, **rest)
    fine = [{"Key": "sorry:expires-at", "Value": "2026-01-02T03:04:05Z"}]
    allowed(create, RoleName=name("r"), Tags=fine, MaxSessionDuration=3600, **rest)
    refused("ValidationError", create, RoleName=name("r"), MaxSessionDuration=43201, **rest)


@probe
def lists_come_in_pages(aws: LocalAws) -> None:
    """ListRoles gives 100 roles a page."""
    path = f"/{name('pages')}/"
    for _ in range(101):
        aws.role(service_trust("ec2.amazonaws.com"), path=path)
    answer = aws.iam.list_roles(PathPrefix=path)
    assert answer["IsTruncated"] and len(answer["Roles"]) == 100, len(answer["Roles"])
    rest = aws.iam.list_roles(PathPrefix=path, Marker=answer["Marker"])
    assert not rest["IsTruncated"] and len(rest["Roles"]) == 1, len(rest["Roles"])


@probe
def lists_have_no_tags(aws: LocalAws) -> None:
    """ListRoles returns no tags; GetRole does."""
    path = f"/{name('tagged')}/"
    aws.role(service_trust("ec2.amazonaws.com"), path=path, Tags=[{"Key": "k", "Value": "v"}])
    role = aws.iam.list_roles(PathPrefix=path)["Roles"][0]
    # botocore leaves the member out of a ListRoles answer only if the service did.
    assert "Tags" not in role, role
    assert aws.iam.get_role(RoleName=role["RoleName"])["Role"]["Tags"]


# --- CloudFormation, API Gateway, SNS


@probe
def stacks_set_boundaries(aws: LocalAws) -> None:
    """A role made by CloudFormation has its PermissionsBoundary."""
    boundary, role = aws.managed_policy(allow("*")), name("role")
    properties = {
        "RoleName": role,
        "PermissionsBoundary": boundary,
        "AssumeRolePolicyDocument": json.loads(service_trust("ec2.amazonaws.com")),
    }
    status, _ = aws.deploy({"Role": {"Type": "AWS::IAM::Role", "Properties": properties}})
    assert status == "CREATE_COMPLETE", status
    found = aws.iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {})
    assert found.get("PermissionsBoundaryArn") == boundary, found


@probe
def stacks_obey_sizes(aws: LocalAws) -> None:
    """A stack with a managed policy that is too large fails."""
    properties = {"ManagedPolicyName": name("policy"), "PolicyDocument": json.loads(_padded(6145))}
    status, _ = aws.deploy({"Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": properties}})
    assert status.startswith("ROLLBACK"), status


@probe
def tables_have_policies(aws: LocalAws) -> None:
    """A table's own policy, from a call or from a stack, is asked for the table and its indexes; a deny in it wins."""

    def deny(*arns: str) -> dict[str, Any]:
        statement = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:Query", "Resource": list(arns)}
        return {"Version": "2012-10-17", "Statement": [statement]}

    caller = aws.user(allow("dynamodb:*")).client("dynamodb")
    called, stacked = name("table"), name("table")
    schema: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    arn = aws.client("dynamodb").create_table(TableName=called, **schema)["TableDescription"]["TableArn"]
    query = {"KeyConditionExpression": "k = :k", "ExpressionAttributeValues": {":k": {"S": "x"}}}
    allowed(caller.query, TableName=called, **query)
    aws.client("dynamodb").put_resource_policy(ResourceArn=arn, Policy=json.dumps(deny(arn)))
    refused("AccessDeniedException", caller.query, TableName=called, **query)
    allowed(caller.get_item, TableName=called, Key={"k": {"S": "x"}})

    index = {"IndexName": "by-k", "KeySchema": schema["KeySchema"], "Projection": {"ProjectionType": "ALL"}}
    of_index = deny(arn.replace(called, stacked) + "/index/*")
    properties = {**schema, "TableName": stacked, "GlobalSecondaryIndexes": [index]}
    properties["ResourcePolicy"] = {"PolicyDocument": of_index}
    aws.deploy({"Table": {"Type": "AWS::DynamoDB::Table", "Properties": properties}})
    allowed(caller.query, TableName=stacked, **query)
    refused("AccessDeniedException", caller.query, TableName=stacked, IndexName="by-k", **query)


@probe
def resource_policy_in_open_api(aws: LocalAws) -> None:
    """`x-amazon-apigateway-policy` is the API's resource policy: a Deny in it refuses."""
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "execute-api:Invoke",
        "Resource": "execute-api:/*/*/admin",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:user/administrator"]}},
    }
    document = open_api(aws.function(), {"Version": "2012-10-17", "Statement": [deny]})
    api, caller = aws.api(document), aws.user(allow("execute-api:Invoke"))
    status, body = aws.call_api(caller, api, "/open")
    assert status == 200, body
    status, body = aws.call_api(caller, api, "/admin")
    assert status == 403, body


@probe
def api_ids_have_ten_characters(aws: LocalAws) -> None:
    """An API's id is as long as on AWS, and `?` in a policy stands for one character of it."""
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "execute-api:Invoke",
        "Resource": f"arn:aws:execute-api:*:{ACCOUNT}:??????????/*/GET/admin",
    }
    document = open_api(aws.function(), {"Version": "2012-10-17", "Statement": [deny]})
    api, caller = aws.api(document), aws.user(allow("execute-api:Invoke"))
    status, body = aws.call_api(caller, api, "/open")
    assert status == 200, body
    status, body = aws.call_api(caller, api, "/admin")
    assert status == 403, body


@probe
def source_address_is_the_connection(aws: LocalAws) -> None:
    """`requestContext.identity.sourceIp` is where the connection comes from, whatever X-Forwarded-For says."""
    api, caller = aws.api(open_api(aws.function())), aws.user(allow("execute-api:Invoke"))
    status, body = aws.call_api(caller, api, "/open", {"X-Forwarded-For": "203.0.113.9"})
    assert status == 200, body
    assert json.loads(body)["requestContext"]["identity"]["sourceIp"] == "127.0.0.1", body


@probe
def mail_is_confirmed_by_its_owner(aws: LocalAws) -> None:
    """A mail address does not count as a subscriber before it confirmed; a queue does."""
    topic = aws.client("sns").create_topic(Name=name("topic"))["TopicArn"]
    queue = aws.client("sqs").create_queue(QueueName=name("queue"))["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="sue@example.org")
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    attributes = aws.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    counts = {word: attributes[f"Subscriptions{word}"] for word in ("Confirmed", "Pending")}
    assert counts == {"Confirmed": "1", "Pending": "1"}, counts


# --- facts that need no patch


@probe
def a_user_is_deleted_bare_and_not_before(aws: LocalAws) -> None:
    """DeleteUser wants everything gone that the user has: keys for SSH and services, certificates, password, devices, groups."""
    user = aws.user().name
    key = allowed(aws.iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody="ssh-rsa AAAA")["SSHPublicKey"]
    refused("DeleteConflict", aws.iam.delete_user, UserName=user)
    listed = allowed(aws.iam.list_ssh_public_keys, UserName=user)["SSHPublicKeys"]
    assert [one["SSHPublicKeyId"] for one in listed] == [key["SSHPublicKeyId"]], listed
    allowed(aws.iam.delete_ssh_public_key, UserName=user, SSHPublicKeyId=key["SSHPublicKeyId"])
    allowed(aws.iam.create_login_profile, UserName=user, Password="Pa55word-of-a-probe")
    refused("DeleteConflict", aws.iam.delete_user, UserName=user)
    allowed(aws.iam.delete_login_profile, UserName=user)
    assert not allowed(aws.iam.list_signing_certificates, UserName=user)["Certificates"]
    assert not allowed(aws.iam.list_service_specific_credentials, UserName=user)["ServiceSpecificCredentials"]


@probe
def session_tags_need_a_permission_of_their_own(aws: LocalAws) -> None:
    """AssumeRole with tags needs sts:TagSession in the caller's own policy, besides the role's trust policy."""
    tags = [{"Key": "sorry:session", "Value": "x"}]
    for actions in (["sts:AssumeRole"], ["sts:AssumeRole", "sts:TagSession"]):
        caller = aws.user(allow(*actions))
        role = aws.role(trust(caller.arn, "sts:AssumeRole", "sts:TagSession"), allow("sqs:ListQueues"))
        if len(actions) == 1:
            refused("AccessDenied", caller.assume, role_arn=role, Tags=tags)
        else:
            allowed(caller.assume, role_arn=role, Tags=tags)


@fact
def functions_have_their_role_only(aws: LocalAws) -> None:
    """What a function calls is decided on its role's policies."""
    arguments: dict[str, Any] = {
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    table = name("table")
    aws.client("dynamodb").create_table(TableName=table, **arguments)
    for statements, expected in (([allow("dynamodb:DescribeTable")], "allowed"), ([], "AccessDeniedException")):
        function = aws.function(*statements)
        answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"count": table}))
        found = json.loads(answer["Payload"].read())
        assert found == expected, found


@fact
def roles_in_use_cannot_be_deleted(aws: LocalAws) -> None:
    """DeleteRole with inline or attached policies, or in an instance profile, is DeleteConflict."""
    role = aws.role(service_trust("ec2.amazonaws.com"), allow("s3:*")).rpartition("/")[2]
    attached, profile = aws.managed_policy(allow("s3:*")), name("profile")
    aws.iam.attach_role_policy(RoleName=role, PolicyArn=attached)
    aws.iam.create_instance_profile(InstanceProfileName=profile)
    aws.iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    refused("DeleteConflict", aws.iam.delete_role, RoleName=role)
    aws.iam.delete_role_policy(RoleName=role, PolicyName="probe")
    refused("DeleteConflict", aws.iam.delete_role, RoleName=role)
    aws.iam.detach_role_policy(RoleName=role, PolicyArn=attached)
    refused("DeleteConflict", aws.iam.delete_role, RoleName=role)
    aws.iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
    allowed(aws.iam.delete_role, RoleName=role)


@probe
def alarms_watch_expressions(aws: LocalAws) -> None:
    """A stack may have an alarm on an expression over metrics; one on two of them, or on none, is refused."""

    def stack(*watched: bool) -> str:
        stat = {"Stat": "Sum", "Period": 60, "Metric": {"Namespace": "probe", "MetricName": "probe"}}
        metrics = [{"Id": f"m{number}", "MetricStat": stat, "ReturnData": one} for number, one in enumerate(watched)]
        alarm = {"Metrics": metrics, "EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 0}
        return aws.deploy({"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}})[0]

    assert stack(True, False) == "CREATE_COMPLETE"
    for wrong in ((True, True), (False, False)):
        assert stack(*wrong) != "CREATE_COMPLETE"


@fact
def trust_can_ask_for_addresses(aws: LocalAws) -> None:
    """A trust policy can ask for addresses (`aws:SourceIp`)."""
    caller = aws.user(allow("sts:AssumeRole"))
    inside, outside = (
        aws.role(trust(caller.arn, condition={"IpAddress": {"aws:SourceIp": ["2001:db8::/32", addresses]}}))
        for addresses in ("127.0.0.0/8", "192.0.2.0/24")
    )
    allowed(caller.assume, role_arn=inside)
    refused("AccessDenied", caller.assume, role_arn=outside)


@probe
def transport_counts_as_secure(aws: LocalAws) -> None:
    """A policy that asks for TLS lets the SDKs in: on AWS they send nothing without."""
    insecure = {"Effect": "Deny", "Action": "sqs:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    caller = aws.user(allow("sqs:ListQueues"), insecure)
    allowed(caller.client("sqs").list_queues)


@probe
def object_lock_from_stacks(aws: LocalAws) -> None:
    """A bucket that a stack makes with Object Lock keeps every version for the default retention."""
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    properties = {
        "VersioningConfiguration": {"Status": "Enabled"},
        "ObjectLockEnabled": True,
        "ObjectLockConfiguration": lock,
    }
    resources = {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}
    _, outputs = aws.deploy(resources, {"Bucket": {"Value": {"Ref": "Bucket"}}})
    s3, bucket = aws.client("s3"), outputs["Bucket"]
    version = s3.put_object(Bucket=bucket, Key="digest", Body=b"1", IfNoneMatch="*")["VersionId"]
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="digest", Body=b"2", IfNoneMatch="*")
    refused("AccessDenied", s3.delete_object, Bucket=bucket, Key="digest", VersionId=version)
    # Hidden, and still there.
    s3.delete_object(Bucket=bucket, Key="digest")
    assert s3.get_object(Bucket=bucket, Key="digest", VersionId=version)["Body"].read() == b"1"


@fact
def denies_reach_live_sessions(aws: LocalAws) -> None:
    """A date deny that is past, a deny written later and a deleted role each end credentials given out before."""
    caller = aws.user(allow("sts:AssumeRole"))
    past = {
        "Effect": "Deny",
        "Action": "*",
        "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    }
    expired = aws.role(trust(caller.arn), allow("sqs:ListQueues"), past)
    refused("AccessDenied", caller.assume(expired).client("sqs").list_queues)
    role = aws.role(trust(caller.arn), allow("sqs:ListQueues"))
    session = caller.assume(role).client("sqs")
    allowed(session.list_queues)
    everything = policy({"Effect": "Deny", "Action": "*"})
    aws.iam.put_role_policy(RoleName=role.rpartition("/")[2], PolicyName="revoked", PolicyDocument=everything)
    refused("AccessDenied", session.list_queues)
    for written in ("probe", "revoked"):
        aws.iam.delete_role_policy(RoleName=role.rpartition("/")[2], PolicyName=written)
    aws.iam.delete_role(RoleName=role.rpartition("/")[2])
    refused("AccessDenied", session.list_queues)


@fact
def boundaries_limit(aws: LocalAws) -> None:
    """A deny in the permissions boundary wins over the role's policy."""
    caller = aws.user(allow("sts:AssumeRole"))
    boundary = aws.managed_policy(allow("*"), {"Effect": "Deny", "Action": "sqs:*"})
    role = aws.role(trust(caller.arn), allow("*"), PermissionsBoundary=boundary)
    session = caller.assume(role)
    allowed(session.client("sns").list_topics)
    refused("AccessDenied", session.client("sqs").list_queues)


if __name__ == "__main__":
    unittest.main()
