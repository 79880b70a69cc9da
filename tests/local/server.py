"""Starting and ending one MiniStack server: a port of its own, a clean environment, a log, and no leftovers."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from processes import Process

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
# MiniStack's root: its policies are not evaluated. For setting up only; tests use principals of their own.
ROOT_KEY_ID = "test"
ROOT_SECRET = "test"

_LAUNCHER = Path(__file__).with_name("strict_aws.py")
_START_SECONDS = 30
# Long enough to write down what is kept.
_STOP_SECONDS = 15
_children: dict[int, subprocess.Popen[bytes]] = {}  # servers that this very process started, to be waited for


class ServerError(Exception):
    """The server did not start or did not answer; the message says why and shows the end of its log."""


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def endpoint_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _environment(port: int, temporary: Path, functions_endpoint: str | None, kept: Path | None) -> dict[str, str]:
    """The server's whole environment. Its functions inherit it, so nothing of the caller's shell may be in it.

    `AWS_ENDPOINT_URL` must be: without it the functions would call the real AWS. `TMPDIR` holds the functions' unpacked
    code and goes with the state directory.
    """
    persistence = {"PERSIST_STATE": "1", "STATE_DIR": str(kept)} if kept else {}
    return {
        **persistence,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
        "MINISTACK_REGION": REGION,
        "LAMBDA_EXECUTOR": "local",
        "AWS_ENDPOINT_URL": functions_endpoint or endpoint_url(port),
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ROOT_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def _has_said(log: Path, since: int, text: str) -> bool:
    with log.open("rb") as written:
        written.seek(since)
        return text.encode() in written.read()


def is_healthy(port: int) -> bool:
    # No proxy of the caller's may come between: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url(port)}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def start(
    directory: Path,
    port: int,
    *,
    plain: bool = False,
    watch_parent: int | None = None,
    functions_endpoint: str | None = None,
    kept: Path | None = None,
) -> Process:
    """Starts a server whose log and temporary files lie in `directory`, and waits until it answers.

    Its functions call AWS at `functions_endpoint`, such as a proxy in front of the server; by default at the server
    itself. With a folder in `kept`, it writes its state there when it ends, and begins with what it finds there.
    """
    temporary = directory / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(_LAUNCHER)]
    command += ["--plain"] if plain else []
    command += ["--watch-parent", str(watch_parent)] if watch_parent else []
    log = directory / "log"
    log_before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=_environment(port, temporary.resolve(), functions_endpoint, kept.resolve() if kept else None),
            start_new_session=True,  # leads a process group of its own, which ends as one
        )
    _children[child.pid] = child
    process = Process.of(child.pid)
    try:
        deadline = time.monotonic() + _START_SECONDS
        # The log says that *this* server has the port; whoever else had it would be healthy too.
        while not (_has_said(log, log_before, f"Running on {endpoint_url(port)}") and is_healthy(port)):
            if child.poll() is not None:
                raise ServerError(f"the local AWS ended at once on port {port}; its log ends:\n{tail(log)}")
            if time.monotonic() >= deadline:
                waited = f"did not answer on port {port} within {_START_SECONDS} s"
                raise ServerError(f"the local AWS {waited}; its log ends:\n{tail(log)}")
            time.sleep(0.05)
    except BaseException:  # an interrupt too: nothing may stay behind that nobody knows of
        stop(process)
        raise
    return process


def stop(process: Process) -> None:
    """Ends the server and the functions it started: first by request, then by force. Only this very process's group."""
    if not process.is_running():
        return
    process.signal_group(signal.SIGTERM)
    if not process.wait_until_gone(_STOP_SECONDS):
        process.signal_group(signal.SIGKILL)
        process.wait_until_gone(_STOP_SECONDS)
    child = _children.pop(process.pid, None)
    if child is not None:
        child.wait(_STOP_SECONDS)
