"""A run whose losses become NaN: ``python -m tests.training.rolling STREAMS KEY=VALUE...``.

Everything else is real. The first ``STREAMS`` noise streams diverge, at step 45. Prints
``agreeing in PHASE`` for each collective operation, with the phase that a scrape would show.
"""

import re
import sys

import numpy as np
import tensorflow as tf

from job.config.errors import DcganError
from job.config.load import load_run
from job.run.stores import open_stores
from job.training import context, worker
from job.training.collectives import Collectives
from job.training.multi_step import TrainCall, build_train_call
from job.training.topology import Topology
from tests.streaming.worker import Scribe, say

BAD_STEP = 45


def main() -> None:
    num_bad_streams = int(sys.argv[1])

    def build_bad_call(spec, strategy, networks, noise_stream: int) -> TrainCall:
        call = build_train_call(spec, strategy, networks, noise_stream)

        def bad_call(chunk: tf.Tensor, first_step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            metrics, measures = (values.numpy() for values in call(chunk, first_step))
            rows = np.arange(int(first_step), int(first_step) + len(metrics))
            if noise_stream < num_bad_streams:
                metrics[rows >= BAD_STEP - 1, 1] = measures[rows >= BAD_STEP - 1, 1] = np.nan
            return tf.constant(metrics), tf.constant(measures)

        return bad_call

    scribe = Scribe()

    class PrintingCollectives(Collectives):
        def sum_over_workers(self, **values: int) -> dict[str, int]:
            found = re.search(
                r'^dcgan_phase\{.*phase="(\w+)".*\} 1\.0$', "\n".join(scribe.scrape()), re.MULTILINE
            )
            say(f"agreeing in {found[1] if found else 'no phase'}")
            return super().sum_over_workers(**values)

    worker.build_train_call, context.Collectives = build_bad_call, PrintingCollectives
    try:
        spec = load_run("notebook", overrides=sys.argv[2:])
        worker.run(spec, open_stores(spec), Topology(0, 1), scribe)
    except DcganError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
