"""A run whose losses are NaN from a step on, in the first set of noise only: ``python -m tests.training.rolling SETS KEY=VALUE...``.

Everything else is real. ``SETS`` sets of noise go wrong, at step 45. Prints ``agreeing in PHASE`` for each agreement of the workers, with the
phase that Prometheus would have scraped then.
"""

import re
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from job.config.errors import DcganError
from job.config.load import load_run
from job.training import worker
from job.training.multi_step import Call, build_train_call
from job.training.strategy import Agreement
from job.training.topology import Topology
from tests.streaming.worker import Scribe, say

BAD_STEP = 45


def main() -> None:
    num_bad_sets = int(sys.argv[1])

    def build_bad_call(spec, strategy, networks, noise_stream: int) -> Call:
        call = build_train_call(spec, strategy, networks, noise_stream)

        def bad_call(chunk: tf.Tensor, first_step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics, measures = (values.numpy() for values in call(chunk, first_step))
            rows = np.arange(int(first_step), int(first_step) + len(metrics))
            if noise_stream < num_bad_sets:
                metrics[rows >= BAD_STEP - 1, 1] = measures[rows >= BAD_STEP - 1, 1] = np.nan
            return tf.constant(metrics), tf.constant(measures)

        return bad_call

    scribe = Scribe()

    class AttemptRecord(Agreement):
        """One that tells."""

        def __call__(self, mine: Sequence[int]) -> list[int]:
            found = re.search(
                r'^dcgan_phase\{.*phase="(\w+)".*\} 1\.0$', "\n".join(scribe.scrape()), re.MULTILINE
            )
            say(f"agreeing in {found[1] if found else 'no phase'}")
            return super().__call__(mine)

    worker.build_train_call, worker.Agreement = build_bad_call, AttemptRecord
    try:
        worker.run(load_run("notebook", overrides=sys.argv[2:]), Topology(0, 1), scribe)
    except DcganError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
