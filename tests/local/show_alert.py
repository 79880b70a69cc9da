"""Shows the alert about a session from the answer of `sqs receive-message` on standard input; exit code 1 without one.

show_alert.py SESSION
"""

import json
import sys
from datetime import datetime, timezone


def main() -> int:
    session = sys.argv[1]
    text = sys.stdin.read()
    for message in json.loads(text or "{}").get("Messages", []):
        alert = json.loads(message["Body"])
        if session in alert["Message"]:
            sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, timezone.utc)
            print(f"{sent:%Y-%m-%dT%H:%M:%S.%fZ}  {alert['Subject']}\n")
            print("\n".join(f"    {line}" for line in alert["Message"].strip().splitlines()))
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
