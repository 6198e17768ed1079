"""The checkpoint with the best score, as the metrics of every later manifest name it."""

from collections.abc import Mapping
from typing import NamedTuple


class Best(NamedTuple):
    """The smallest Frechet distance of a run so far, and its step."""

    distance: float
    step: int

    def to_metrics(self) -> dict[str, float]:
        """Return the entries of a manifest's ``metrics``."""
        return {"best_frechet_distance": self.distance, "best_step": self.step}


def best_of(metrics: Mapping[str, float]) -> Best | None:
    """Return the best score that a manifest's ``metrics`` name; None without scores."""
    distance, step = metrics.get("best_frechet_distance"), metrics.get("best_step")
    return None if distance is None or step is None else Best(distance, int(step))
