"""A process that appends and flushes rows forever: ``python -m tests.run.appending RUN``."""

import itertools
import sys
import time

from job.run.segments import Writer
from job.storage.uri import open_store


def main() -> None:
    with Writer(open_store(sys.argv[1]), 0.05) as writer:
        rows = writer.open(lambda number: f"rows/{number:06d}.jsonl")
        for number in itertools.count():
            rows.append(b'{"row": %06d, "%s": 0}\n' % (number, b"x" * 10000))
            time.sleep(0.001)


if __name__ == "__main__":
    main()
