"""Telling one process from another that later got the same id."""

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_LOOK_AGAIN_SECONDS = 0.5


def _started(pid: int) -> str | None:
    """When the process started, in whatever form the system gives; None if there is none (or only its corpse)."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The 2nd field is the name in parentheses and may hold anything; the 3rd is the state, the 22nd the start.
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() or None if state and not state.startswith("Z") else None


@dataclass(frozen=True)
class Process:
    """A process, known by its id and when it started."""

    pid: int
    started: str

    @staticmethod
    def of(pid: int) -> "Process":
        """The process that has this id now. One that is gone already never counts as running."""
        return Process(pid, _started(pid) or "gone")

    def is_running(self) -> bool:
        return _started(self.pid) == self.started

    def wait_until_gone(self, seconds: float | None = None) -> bool:
        """Whether the process went within the time; without a time, waits for as long as it takes."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.is_running():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN_SECONDS if deadline is None else 0.05)
        return True

    def signal_group(self, number: int) -> None:
        """Signals the process group that this process leads; nothing if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
