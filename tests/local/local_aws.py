"""`sorry` on a local AWS: the real template, the real state machine, the real function binaries, on loopback.

    local_aws.py up     --state DIR --binaries target/debug [--port N] [--no-callers] [--watch-parent PID]
                        [--architecture A] [--sorry PATH] [--set Parameter=Value …]
                        [--functions-endpoint URL] [--keep-state]
    local_aws.py restart --state DIR [--functions-endpoint URL] [--watch-parent PID]
    local_aws.py status --state DIR
    local_aws.py down   --state DIR

`up` starts the strict server (`strict_aws.py`), makes an administrator, deploys the stack, registers the caller
`sue-mgr` with the `sorry` command itself, and writes into DIR: `env` (to be sourced), `config` and `credentials`
(profiles `administrator` and `sue-mgr`), `outputs.json` (for programs), `log`, `pid`, `port`. It touches nothing
outside DIR but a cache of zips beside the binaries, and never `~/.aws`. Several may run at once, each with a DIR of
its own. Everything is gone when the server ends.

`restart` ends and starts a server that was started with `--keep-state`: tables, principals and the deployment are
there again; functions and executions that were running are lost, as if their region had failed.
"""

import argparse
import configparser
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

import server  # noqa: E402
from processes import Process  # noqa: E402

PROJECT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("api", "issue", "provision", "clean-up", "sweep", "alert")
STACK = "sorry"
ADMINISTRATOR = "local-administrator"
CALLER = "sue-mgr"
CALLER_TIERS = {"read-only": 36, "developer": 8, "admin": 8, "break-glass": 1}
CODE_BUCKET = "sorry-code"
CODE_PREFIX = "functions/"
STACK_SECONDS = 120
# The local deployment allows more and waits less than one on AWS; nothing in the template itself is weaker.
PARAMETERS = {
    "EnabledTiers": "read-only,developer,admin,break-glass",
    "MinimumWindowSeconds": "10",
    "RequireMfa": "true",
    "SweepRate": "rate(1 minute)",
    "RetainData": "false",
    # So that there are digests of the audit to look at.
    "AuditDigestSeconds": "60",
}
# What belongs to one run of the server. The log outlives it; so do files that are not ours.
_RUN_FILES = ("pid", "port", "env", "config", "credentials", "outputs.json", "template.yaml", "mfa-seed", "mfa-seed.step")


class LocalAwsError(Exception):
    """What went wrong, for the person who ran the command."""


@dataclass(frozen=True)
class Instance:
    """A state directory and the server that runs for it, if one does."""

    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def outputs_file(self) -> Path:
        return self.directory / "outputs.json"

    def process(self) -> Process | None:
        """The server, if it runs. A stranger that got its id since does not count."""
        try:
            pid, started = (self.directory / "pid").read_text().splitlines()
        except (OSError, ValueError):
            return None
        process = Process(int(pid), started)
        return process if process.is_running() else None

    def port(self) -> int:
        return int((self.directory / "port").read_text())

    @property
    def kept(self) -> Path:
        """Where a server that keeps its state does so."""
        return self.directory / "kept"

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.outputs_file.read_text())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time for one directory."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def forget(self) -> None:
        """Removes what a run that has ended left."""
        for name in _RUN_FILES:
            (self.directory / name).unlink(missing_ok=True)
        for folder in (self.directory / "tmp", self.kept):
            shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    print(text, file=sys.stderr)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp: 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(temporary).replace(path)


def client(service: str, endpoint: str, key_id: str, secret: str) -> Any:
    session = boto3.Session(aws_access_key_id=key_id, aws_secret_access_key=secret, region_name=server.REGION)
    return session.client(service, endpoint_url=endpoint, config=Config(proxies={}, retries={"total_max_attempts": 2}))


# --- the functions' code


def _stripped(binary: Path, directory: Path) -> Path:
    """A copy without symbols, which are most of a development build; the binary itself where `strip` does not work."""
    if shutil.which("strip") is None:
        return binary
    copy = directory / binary.name
    try:
        subprocess.run(["strip", "-o", str(copy), str(binary)], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return binary
    return copy


def zip_of(binary: Path) -> Path:
    """The binary as a function's zip: one entry `bootstrap`, 0755. Made once for each build, for all instances."""
    found = binary.stat()
    digest = hashlib.sha256(f"{found.st_size} {found.st_mtime_ns} {found.st_ino}".encode()).hexdigest()[:16]
    cache = binary.parent / "local-aws-zips"
    cache.mkdir(exist_ok=True)
    archive = cache / f"{binary.name}-{digest}.zip"
    if archive.exists():
        return archive
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / "function.zip"
        entry = zipfile.ZipInfo("bootstrap")  # a fixed date: the same binary gives the same zip
        entry.external_attr = 0o100755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        with (
            _stripped(binary, Path(scratch)).open("rb") as source,
            zipfile.ZipFile(made, "w", compresslevel=1) as zipped,
            zipped.open(entry, "w") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
        made.replace(archive)  # another instance may have made it meanwhile: the same
    for old in cache.glob(f"{binary.name}-{'?' * 16}.zip"):
        if old != archive:
            old.unlink(missing_ok=True)
    return archive


def function_zips(binaries: Path) -> dict[str, Path]:
    missing = [f"sorry-{name}" for name in FUNCTIONS if not (binaries / f"sorry-{name}").is_file()]
    if missing:
        raise LocalAwsError(f"no {', '.join(missing)} in {binaries}\nhint: build first, `make build`")
    return {name: zip_of(binaries / f"sorry-{name}") for name in FUNCTIONS}


def architecture() -> str:
    """This machine's, as Lambda names it: the functions run here, natively."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


# --- deploying


def assemble(output: Path, template: Path | None) -> str:
    """The template to deploy, put together from `infrastructure/` (or as given, to try out the local AWS itself)."""
    if template is not None:
        return template.read_text()
    command = [sys.executable, str(PROJECT / "infrastructure" / "assemble.py"), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalAwsError(f"infrastructure/assemble.py failed:\n{done.stderr.strip()}")
    return output.read_text()


def make_administrator(endpoint: str) -> dict[str, str]:
    """An IAM user that may do everything. MiniStack's root key serves for nothing but this: it bypasses policies."""
    iam = client("iam", endpoint, server.ROOT_KEY_ID, server.ROOT_SECRET)
    user = iam.create_user(UserName=ADMINISTRATOR)["User"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=ADMINISTRATOR, PolicyName="administrator", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName=ADMINISTRATOR)["AccessKey"]
    return {"arn": user["Arn"], "access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}


def upload(s3: Any, zips: dict[str, Path]) -> None:
    for name, archive in zips.items():
        s3.put_object(Bucket=CODE_BUCKET, Key=f"{CODE_PREFIX}{name}.zip", Body=archive.read_bytes())


def deploy(formation: Any, template_url: str, parameters: dict[str, str]) -> dict[str, str]:
    """Makes the stack and waits for it; its outputs."""
    known = {p["ParameterKey"] for p in formation.validate_template(TemplateURL=template_url)["Parameters"]}
    unknown = sorted(set(parameters) - known)
    if unknown:
        say(f"note: the template has no parameter {', '.join(unknown)}")
    formation.create_stack(
        StackName=STACK,
        TemplateURL=template_url,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items() if k in known],
    )
    deadline = time.monotonic() + STACK_SECONDS
    while time.monotonic() < deadline:
        stack = formation.describe_stacks(StackName=STACK)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        time.sleep(0.1)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        failures = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '(no reason)')}"
            for event in formation.describe_stack_events(StackName=STACK)["StackEvents"]
            if event["ResourceStatus"].endswith("_FAILED")
        ]
        reason = stack.get("StackStatusReason", "")
        raise LocalAwsError(f"the stack is {stack['StackStatus']}: {reason}\n" + "\n".join(failures))
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


# --- what a person or a test needs to use it


def command_environment(instance: Instance, profile: str) -> dict[str, str]:
    """What `sorry` and the AWS CLI need to work here. Secrets are in the files only."""
    outputs = instance.outputs()
    return {
        "SORRY_ENDPOINT": outputs["endpoint"],
        "AWS_ENDPOINT_URL": outputs["endpoint_url"],
        "AWS_REGION": server.REGION,
        "AWS_CONFIG_FILE": str(instance.directory / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(instance.directory / "credentials"),
        "AWS_PROFILE": profile,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def add_profile(instance: Instance, profile: str, key_id: str, secret: str) -> None:
    """Adds a profile to the instance's own `credentials` and `config`."""
    for file_name, section, values in (
        ("credentials", profile, {"aws_access_key_id": key_id, "aws_secret_access_key": secret}),
        ("config", f"profile {profile}", {"region": server.REGION}),
    ):
        path = instance.directory / file_name
        existing = path.read_text() if path.exists() else ""
        parsed = configparser.RawConfigParser()
        parsed.read_string(existing)
        if parsed.has_section(section):
            raise LocalAwsError(f"{path} has a profile `{profile}` already\nhint: run `down`, then `up`")
        lines = [f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
        write_private(path, (existing.rstrip("\n") + "\n\n" if existing else "") + "\n".join(lines) + "\n")


def write_environment(instance: Instance, profile: str) -> None:
    """The file to source. Keys in the shell would win over the profile, so it takes them away."""
    lines = [
        "# Written by tests/local/local_aws.py. To use the local AWS in this shell: source this file.",
        "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_PROFILE AWS_DEFAULT_REGION",
        *(f"export {name}={shlex.quote(value)}" for name, value in command_environment(instance, profile).items()),
    ]
    seed = instance.directory / "mfa-seed"
    if seed.exists():
        # What an app on the caller's phone would show.
        command = shlex.join([sys.executable, str(Path(__file__).with_name("mfa_code.py").resolve()), str(seed)])
        lines.append(f"export SORRY_MFA_PROCESS={shlex.quote(command)}")
    write_private(instance.directory / "env", "\n".join(lines) + "\n")


def has_profile(instance: Instance, profile: str) -> bool:
    parsed = configparser.RawConfigParser()
    parsed.read(instance.directory / "credentials")
    return parsed.has_section(profile)


def register_caller(instance: Instance, sorry: Path) -> None:
    """Registers `sue-mgr` as a person would: with the `sorry` command and the administrator's credentials."""
    if not sorry.is_file():
        raise LocalAwsError(f"no `sorry` at {sorry}\nhint: build first, `make build`, or pass --no-callers")
    command = [str(sorry), "admin", "callers", "add", CALLER, "--mfa", "--output", "json"]
    for tier, hours in CALLER_TIERS.items():
        command += ["--tier", f"{tier}={hours}"]
    home = instance.directory / "tmp"  # so that no settings of the person's own are read
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        **command_environment(instance, "administrator"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise LocalAwsError(f"`sorry admin callers add {CALLER}` failed ({done.returncode}):\n{done.stderr.strip()}")
    try:
        answer = json.loads(done.stdout)
        key_id, secret = answer["access_key_id"], answer["secret_access_key"]
        seed = answer["mfa_device"]["secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise LocalAwsError(f"`sorry admin callers add` did not print a key as JSON ({error!r})") from error
    add_profile(instance, CALLER, key_id, secret)
    write_private(instance.directory / "mfa-seed", f"{seed}\n")
    write_environment(instance, CALLER)


# --- commands


def start_server(instance: Instance, port: int | None, arguments: argparse.Namespace) -> int:
    """Starts the server and records it; the port. A free port may be taken by another before the server has it."""
    for attempts_left in (2, 1, 0):
        chosen = port or server.free_port()
        try:
            process = server.start(
                instance.directory,
                chosen,
                watch_parent=arguments.watch_parent,
                functions_endpoint=arguments.functions_endpoint,
                kept=instance.kept if instance.kept.is_dir() else None,
            )
        except server.ServerError:
            if port or not attempts_left:
                raise
            continue
        write_private(instance.directory / "pid", f"{process.pid}\n{process.started}\n")
        write_private(instance.directory / "port", f"{chosen}\n")
        return chosen
    raise AssertionError("unreachable")


def set_up(instance: Instance, arguments: argparse.Namespace, zips: dict[str, Path]) -> None:
    """From a started server to a deployed stack."""
    endpoint = server.endpoint_url(instance.port())
    administrator = make_administrator(endpoint)
    keys = (administrator["access_key_id"], administrator["secret_access_key"])
    s3 = client("s3", endpoint, *keys)
    s3.create_bucket(Bucket=CODE_BUCKET)
    upload(s3, zips)
    template = assemble(instance.directory / "template.yaml", arguments.template)
    # By URL: the template is larger than the 51,200 bytes that fit in a request.
    s3.put_object(Bucket=CODE_BUCKET, Key="template.yaml", Body=template.encode())
    parameters = {
        "CodeBucket": CODE_BUCKET,
        "CodePrefix": CODE_PREFIX,
        "Architecture": arguments.architecture or architecture(),
        "AdministratorArns": administrator["arn"],
        # The administrator here has no device: as if an identity provider had asked.
        "IdentityProviderRoleArns": administrator["arn"],
        **PARAMETERS,
        **dict(arguments.set),
    }
    formation = client("cloudformation", endpoint, *keys)
    outputs = deploy(formation, f"{endpoint}/{CODE_BUCKET}/template.yaml", parameters)
    gateway = f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/v1" if "ApiId" in outputs else ""
    written = {
        **outputs,
        "endpoint_url": endpoint,
        "endpoint": gateway,
        "region": server.REGION,
        "account_id": server.ACCOUNT_ID,
        "administrator": administrator,
        "deployed": {"template": _digest(template), **{name: archive.name for name, archive in zips.items()}},
    }
    write_private(instance.outputs_file, json.dumps(written, indent=2) + "\n")
    add_profile(instance, "administrator", *keys)
    write_environment(instance, "administrator")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refresh(instance: Instance, arguments: argparse.Namespace, zips: dict[str, Path]) -> None:
    """Gives a running instance the functions' new code. A new template needs a new instance: say so."""
    outputs = instance.outputs()
    deployed = outputs["deployed"]
    changed = {name: archive for name, archive in zips.items() if deployed.get(name) != archive.name}
    if changed:
        administrator = outputs["administrator"]
        keys = (administrator["access_key_id"], administrator["secret_access_key"])
        upload(client("s3", outputs["endpoint_url"], *keys), changed)
        functions = client("lambda", outputs["endpoint_url"], *keys)
        for name in changed:
            functions.update_function_code(FunctionName=f"sorry-{name}", S3Bucket=CODE_BUCKET, S3Key=f"{CODE_PREFIX}{name}.zip")
        say(f"new code for {', '.join(changed)}")
        deployed.update({name: archive.name for name, archive in changed.items()})
        write_private(instance.outputs_file, json.dumps(outputs, indent=2) + "\n")
    template = assemble(instance.directory / "template.yaml", arguments.template)
    if deployed["template"] != _digest(template):
        say("note: the template has changed since\nhint: run `down`, then `up`, to deploy it")


def up(arguments: argparse.Namespace) -> int:
    instance = Instance(arguments.state.resolve())
    with instance.locked():
        # First, so that a missing binary is told before anything is started.
        zips = {} if arguments.template and not arguments.binaries else function_zips(arguments.binaries.resolve())
        process = instance.process()
        if process and not (instance.outputs_file.exists() and server.is_healthy(instance.port())):
            say("a local AWS that was not set up to the end is running here: starting anew")
            server.stop(process)
            process = None
        if process:
            say(f"the local AWS is running already: {instance.outputs()['endpoint_url']} (pid {process.pid})")
            refresh(instance, arguments, zips)
        else:
            instance.forget()
            instance.log.unlink(missing_ok=True)
            if arguments.keep_state:
                instance.kept.mkdir(mode=0o700)
            start_server(instance, arguments.port, arguments)
            try:
                set_up(instance, arguments, zips)
            except BaseException:
                started = instance.process()
                if started is None:
                    say(f"the local AWS has ended; its log ends:\n{server.tail(instance.log)}")
                else:
                    server.stop(started)
                instance.forget()
                raise
        if arguments.register_callers and not has_profile(instance, CALLER):
            sorry = arguments.sorry or arguments.binaries / "sorry"
            register_caller(instance, sorry.resolve())
    outputs = instance.outputs()
    say(
        f"local AWS: {outputs['endpoint_url']}\n"
        f"gateway:   {outputs['endpoint']}\n"
        f"to use it: source {shlex.quote(str(instance.directory / 'env'))}"
    )
    return 0


def restart(arguments: argparse.Namespace) -> int:
    instance = Instance(arguments.state.resolve())
    with instance.locked():
        process = instance.process()
        if process is None or not instance.kept.is_dir():
            raise LocalAwsError(f"no local AWS that keeps its state is running for {instance.directory}")
        server.stop(process)
        if process.is_running():
            raise LocalAwsError(f"pid {process.pid} did not end")
        start_server(instance, instance.port(), arguments)
    return 0


def status(arguments: argparse.Namespace) -> int:
    instance = Instance(arguments.state.resolve())
    process = instance.process()
    if process is None:
        if (instance.directory / "pid").exists():
            say(f"the local AWS of {instance.directory} has ended by itself; its log ends:\n{server.tail(instance.log)}")
        else:
            say(f"no local AWS is running for {instance.directory}")
        return 1
    if not instance.outputs_file.exists():
        say(f"the local AWS is being set up (pid {process.pid})")
        return 1
    if not server.is_healthy(instance.port()):
        say(f"pid {process.pid} does not answer on port {instance.port()}; its log ends:\n{server.tail(instance.log)}")
        return 1
    outputs = instance.outputs()
    print(f"running\npid\t{process.pid}\nlocal AWS\t{outputs['endpoint_url']}\ngateway\t{outputs['endpoint']}")
    return 0


def down(arguments: argparse.Namespace) -> int:
    instance = Instance(arguments.state.resolve())
    if not instance.directory.is_dir():
        say(f"no local AWS is running for {instance.directory}")
        return 0
    with instance.locked():
        process = instance.process()
        if process is None:
            say(f"no local AWS is running for {instance.directory}")
        else:
            server.stop(process)
            if process.is_running():
                raise LocalAwsError(f"pid {process.pid} did not end")
            say(f"ended the local AWS (pid {process.pid})")
        instance.forget()
    return 0


def parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"`{text}` is not Parameter=Value")
    return name, value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, summary in (
        ("up", up, "start, deploy, register the caller"),
        ("restart", restart, "end and start it again, with its state kept and what was running lost"),
        ("status", status, "say whether it runs"),
        ("down", down, "end it and remove what it left but its log"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        command.add_argument("--state", type=Path, required=True, metavar="DIR", help="where its files lie")
        if name in ("up", "restart"):
            command.add_argument("--watch-parent", type=int, metavar="PID", help="end when this process is gone")
            command.add_argument("--functions-endpoint", metavar="URL", help="where the functions call AWS; default: here")
        if name == "up":
            command.add_argument("--keep-state", action="store_true", help="so that it can be restarted")
            command.add_argument("--binaries", type=Path, metavar="DIR", help="the folder of `sorry-api` and the others")
            command.add_argument("--port", type=int, help="default: a free one")
            command.add_argument("--architecture", choices=("x86_64", "arm64"), help="default: this machine's")
            command.add_argument("--set", type=parameter, action="append", default=[], metavar="Parameter=Value")
            command.add_argument("--sorry", type=Path, metavar="PATH", help="the command; default: beside the functions")
            command.add_argument("--template", type=Path, metavar="FILE", help=argparse.SUPPRESS)
            callers = command.add_mutually_exclusive_group()
            callers.add_argument("--register-callers", action="store_true", default=True, help=f"register {CALLER} (default)")
            callers.add_argument("--no-callers", action="store_false", dest="register_callers")
    arguments = parser.parse_args()
    if arguments.command == "up" and arguments.binaries is None and arguments.template is None:
        parser.error("up needs --binaries")
    try:
        return arguments.run(arguments)
    except (LocalAwsError, server.ServerError, OSError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
    except (ClientError, BotoCoreError) as error:
        say(f"error: the local AWS refused or did not answer: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
