"""The strict launcher: MiniStack with the patches of `strict/`, on loopback only.

Run by `local_aws.py` and `probes.py`, which set its environment (`server.py`). By hand:

    AUTH=true BIND_HOST=127.0.0.1 GATEWAY_PORT=4566 … python strict_aws.py [--plain] [--watch-parent PID]
"""

import argparse
import os
import signal
import sys
import threading

from processes import Process


def _end_with(parent: Process) -> None:
    """End this process group, functions included, when the parent is gone: a killed test leaves nothing behind."""

    def watch() -> None:
        parent.wait_until_gone()
        os.killpg(os.getpgrp(), signal.SIGTERM)
        # The group's other members are gone now; a server that hangs in its shutdown must not outlive this.
        threading.Timer(5, os._exit, [1]).start()

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _keep_credentials() -> None:
    """Temporary credentials are good until they expire, whatever fails meanwhile; MiniStack keeps all state but them."""
    from ministack.core.persistence import PERSIST_STATE
    from ministack.services import sts

    if not PERSIST_STATE:
        return
    if sts.get_state() != {}:
        raise SystemExit("this MiniStack keeps temporary credentials itself: remove `_keep_credentials`")
    sts.get_state = lambda: {"sessions": dict(sts._sessions)}
    sts.load_persisted_state = lambda kept: sts._sessions.update(kept["sessions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain", action="store_true", help="without the patches; what the probes compare with")
    parser.add_argument("--watch-parent", type=int, metavar="PID", help="end when this process is gone")
    arguments = parser.parse_args()
    if arguments.watch_parent:
        if os.getpgrp() != os.getpid():
            parser.error("--watch-parent ends its whole process group, so it must be started in one of its own")
        _end_with(Process.of(arguments.watch_parent))
    from ministack import app

    if not arguments.plain:
        import strict

        strict.apply_all()
    _keep_credentials()
    # MiniStack's `main` reads arguments of its own.
    sys.argv = sys.argv[:1]
    app.main()


if __name__ == "__main__":
    main()
