"""Keeps what `sorry admin callers add --mfa --output json` says once, for the demo: the key and the seed of the device.

sorry admin callers add NAME --mfa --output json | python tests/local/keep_caller.py NAME CREDENTIALS_FILE SEED_FILE
"""

import configparser
import json
import os
import sys
from pathlib import Path


def main() -> int:
    name, credentials_file, seed_file = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    caller = json.load(sys.stdin)
    profiles = configparser.RawConfigParser()
    profiles.read(credentials_file)
    profiles[name] = {key: caller[key.removeprefix("aws_")] for key in ("aws_access_key_id", "aws_secret_access_key")}
    os.umask(0o077)
    with credentials_file.open("w") as written:
        profiles.write(written)
    seed_file.write_text(f"{caller['mfa_device']['secret']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
