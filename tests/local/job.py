"""A program that runs for long, for the end-to-end tests: one boto3 client, one call for each line of standard input.

Every answer is a line: {"key": the id of the key that signed, "ok": true} or {"error": …}. Where the credentials come from is
boto3's business alone: AWS_PROFILE, as in anybody's job. The call is one that a deny ends: GetCallerIdentity is answered whatever
policies say.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    session = boto3.Session()
    client = session.client("sns", config=Config(retries={"total_max_attempts": 1}))
    for _ in sys.stdin:
        try:
            client.list_topics()
            answer = {"key": session.get_credentials().get_frozen_credentials().access_key, "ok": True}
        except (BotoCoreError, ClientError, RuntimeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
