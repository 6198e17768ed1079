"""Longest waits of the chief for the store; the watchdog's limits must be longer.

The only home of these sums: ``check`` compares them with the limits before a run starts, and the
chief takes its deadlines from here.
"""

from job.config.spec import RunSpec

LOOP_ATTEMPTS = 2  # per request of the training loop, which retries by itself
GRID_PATIENCE_SECONDS = 20.0
MAX_SAVE_WAIT_SECONDS = 300.0
SAVE_WAIT_SHARE = 0.8  # the rest is for copying the state, and for workers that arrive late


def request_seconds(spec: RunSpec) -> float:
    """Return the longest time of one request of the training loop to the run folder.

    A folder has no timeouts.
    """
    if not spec.uri.startswith("s3://"):
        return 0.0
    return LOOP_ATTEMPTS * (
        spec.storage.connect_timeout_seconds + spec.storage.read_timeout_seconds
    )


def grid_seconds(spec: RunSpec) -> float:
    """Return the longest time that the chief spends on writing a grid."""
    return GRID_PATIENCE_SECONDS + request_seconds(spec)


def save_wait_seconds(spec: RunSpec) -> float:
    """Return how long a save may wait for the save before it.

    A grid at the same step included, within ``watchdog.train_seconds``.
    """
    if not spec.watchdog.train_seconds:
        return MAX_SAVE_WAIT_SECONDS
    left = spec.watchdog.train_seconds - grid_seconds(spec)
    return max(0.0, min(MAX_SAVE_WAIT_SECONDS, SAVE_WAIT_SHARE * left))


def start_wait_seconds(spec: RunSpec) -> float:
    """Return the longest wait for the store between two collectives of an attempt or rollback.

    Two operations in a row, each repeated for ``data.fetch_patience_seconds``: the crash counts and
    the checkpoint, or a divergence and the number of them. Before a rollback a save under way gets
    ``checkpoints.grace_seconds``.
    """
    return (
        2 * spec.data.fetch_patience_seconds
        + spec.checkpoints.grace_seconds
        + request_seconds(spec)
    )
