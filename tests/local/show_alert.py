"""Shows the alert about a session from the answer of `sqs receive-message` on standard input; exit code 1 without one, or
if it was sent after the session became ACTIVE.

show_alert.py SESSION ACTIVE
"""

import json
import sys
from datetime import datetime, timezone


def main() -> int:
    session, active = sys.argv[1], datetime.fromisoformat(sys.argv[2].replace("Z", "+00:00"))
    text = sys.stdin.read()
    for message in json.loads(text or "{}").get("Messages", []):
        alert = json.loads(message["Body"])
        if session in alert["Message"]:
            sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, timezone.utc)
            print(f"{sent:%Y-%m-%dT%H:%M:%S.%fZ}  {alert['Subject']}\n")
            print("\n".join(f"    {line}" for line in alert["Message"].strip().splitlines()))
            print(f"\n{active:%Y-%m-%dT%H:%M:%SZ}  the session became ACTIVE")
            # The row's clock has seconds, the queue's has milliseconds.
            return int(sent.replace(microsecond=0) > active)
    return 1


if __name__ == "__main__":
    sys.exit(main())
