"""What botocore makes of each row of parser_table.json: a JSON list of the value of `output`, null, or "fails"."""

import json
import os
import pathlib
import sys
import tempfile

import botocore.exceptions
import botocore.session


def read(row, folder):
    paths = {kind: pathlib.Path(folder, kind) for kind in ("config", "credentials")}
    for kind, path in paths.items():
        # Each character of a row is one byte.
        path.write_bytes(row["text"].encode("latin-1") if kind == row["file"] else b"")
    os.environ["AWS_CONFIG_FILE"] = str(paths["config"])
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(paths["credentials"])
    try:
        profiles = botocore.session.Session().full_config["profiles"]
    except botocore.exceptions.ConfigParseError:
        return "fails"
    return profiles.get(row.get("profile", "x"), {}).get("output")


with tempfile.TemporaryDirectory() as folder:
    table = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps([read(row, folder) for row in table]))
