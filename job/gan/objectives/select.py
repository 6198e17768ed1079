"""The objective of a run, by its name in the configuration."""

from job.config.spec import TrainingSpec
from job.gan.objectives.hinge import hinge
from job.gan.objectives.least_squares import least_squares
from job.gan.objectives.non_saturating import non_saturating
from job.gan.objectives.objective import Objective
from job.gan.objectives.relativistic import relativistic
from job.gan.objectives.wasserstein import wasserstein

_OTHERS = {
    "relativistic": relativistic,
    "hinge": hinge,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
}


def objective_of(training: TrainingSpec) -> Objective:
    """Return the objective of ``training.objective.name``."""
    if training.objective.name == "non_saturating":
        return non_saturating(training.real_label)
    return _OTHERS[training.objective.name]()
