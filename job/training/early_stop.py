"""The end of a run whose scores no longer improve. Knows no tensor."""

from job.checkpoints.best import Best
from job.config.spec import RunSpec


def is_early_stop(spec: RunSpec, best: Best | None, step: int) -> bool:
    """Return whether the run ends at ``step``: ``quality.stop_after_steps`` after its best."""
    limit = spec.quality.stop_after_steps
    return limit is not None and best is not None and step - best.step >= limit
