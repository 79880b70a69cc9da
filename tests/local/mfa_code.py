"""Prints a code of an MFA device that was not printed before: the app on a phone, for tests and the local AWS.

    python tests/local/mfa_code.py SEED_FILE [STEPS]

The seed stands in the file in base 32. Which step of 30 seconds was spent last is remembered beside it; where all codes that AWS
takes by now are spent, it waits for the next. With STEPS, such as -1, it prints the code so many steps from now, for enrolment.
"""

import fcntl
import sys
import time
from pathlib import Path

from totp import STEP, code


def main() -> int:
    seed_file = Path(sys.argv[1])
    seed = seed_file.read_text().strip()
    if len(sys.argv) > 2:
        print(code(seed, int(time.time()) // STEP + int(sys.argv[2])))
        return 0
    with Path(f"{seed_file}.step").open("a+") as spent:
        fcntl.flock(spent, fcntl.LOCK_EX)
        spent.seek(0)
        last = int(spent.read().strip() or 0)
        # Enrolment has spent the code of its own step. One step ahead is taken by AWS, too.
        step = max(last + 1, int(seed_file.stat().st_mtime) // STEP + 1)
        step = max(step, int(time.time()) // STEP)
        while step > int(time.time()) // STEP + 1:
            time.sleep(0.2)
        spent.truncate(0)
        spent.write(f"{step}\n")
    print(code(seed, step))
    return 0


if __name__ == "__main__":
    sys.exit(main())
