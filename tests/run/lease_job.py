"""A job that only holds a run folder: ``python -m tests.run.lease_job URI SECONDS``.

Prints ``ready``, and after a line on standard input ``held TOKEN`` or ``refused TEXT``. Then it
runs until its input ends, and prints ``lost TEXT`` if it loses the folder. Its clock does not move:
on a busy machine a holder may be late, and would be taken for dead.
"""

import sys
import threading

from job.run import lease as lease_module
from job.run.lease import LeaseHeld, acquire
from job.storage.uri import open_store


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    lease_module.CLOSE_SECONDS = (
        60.0  # a busy disk may take longer than a job that ends waits for it
    )
    store = open_store(sys.argv[1])
    store.stat("lease.json")  # boto3 is loaded by the first request
    say("ready")
    sys.stdin.readline()
    try:
        lease = acquire(store, float(sys.argv[2]), note=lambda text: None, clock=lambda: 0.0)
    except LeaseHeld as error:
        say(f"refused {error}")
        return
    with lease:
        say(f"held {lease.token}")
        ended = threading.Thread(target=sys.stdin.read, daemon=True)
        ended.start()
        while ended.is_alive() and lease.lost is None:
            ended.join(0.02)
        if lease.lost is not None:
            say(f"lost {lease.lost}")
        ended.join()
    assert not {"tensorflow", "keras", "ray"} & sys.modules.keys()


if __name__ == "__main__":
    main()
