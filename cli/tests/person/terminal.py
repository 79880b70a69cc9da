"""Runs a command on a terminal of its own, answers its questions, and prints what was to be seen on it.

Usage: terminal.py '[["question", "answer"], ...]' COMMAND...
Prints one JSON object: `output`, and `exit`, the exit code, or less than 0 for a signal. An answer is typed once its question is
there and, for secrets, the echo is off: as fast as that, no person types before.
"""

import json
import os
import pty
import select
import sys
import termios
import time

PATIENCE = 60


def main() -> None:
    script, command = json.loads(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    output, searched, deadline = b"", 0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if script and script[0][0].encode() in output[searched:]:
            question, answer = script.pop(0)
            searched = len(output)
            if answer.startswith("secret:"):
                answer = answer.removeprefix("secret:")
                while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < deadline:
                    time.sleep(0.01)
            os.write(terminal, answer.encode() if answer == "\x03" else answer.encode() + b"\n")
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            read = os.read(terminal, 4096)
        except OSError:  # what Linux says at the end of a terminal
            break
        if not read:
            break
        output += read
    else:
        os.kill(child, 9)
    echo = None
    try:
        echo = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
    except termios.error:
        pass
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"output": output.decode(errors="replace").replace("\r\n", "\n"), "exit": code, "echo": echo, "unasked": script}))


main()
