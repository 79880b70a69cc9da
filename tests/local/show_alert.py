"""Shows the alert about a session from the answer of `sqs receive-message` on standard input; exit code 1 without one, or
if it was sent after the role was made.

show_alert.py SESSION CREATED
"""

import json
import sys
from datetime import datetime, timezone


def main() -> int:
    session, created = sys.argv[1], datetime.fromisoformat(sys.argv[2].replace("Z", "+00:00"))
    text = sys.stdin.read()
    for message in json.loads(text or "{}").get("Messages", []):
        alert = json.loads(message["Body"])
        if session in alert["Message"]:
            sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, timezone.utc)
            print(f"{sent:%Y-%m-%dT%H:%M:%S.%fZ}  {alert['Subject']}\n")
            print("\n".join(f"    {line}" for line in alert["Message"].strip().splitlines()))
            print(f"\n{created:%Y-%m-%dT%H:%M:%SZ}  the role was made")
            # IAM's clock has seconds, the queue's has milliseconds.
            return int(sent.replace(microsecond=0) > created)
    return 1


if __name__ == "__main__":
    sys.exit(main())
