"""Checks across the fields of an objective, its penalties, augmentation and schedule."""

from job.config.errors import ConfigError
from job.config.model import ModelSpec
from job.config.spec import TrainingSpec

# D's loss and G's loss at a fake image differ by a factor for each image (``job.gan.objectives``).
WITH_RATIO = ("non_saturating", "relativistic", "wasserstein")
# One logit decides whether D takes an image for real.
WITH_BORDER = ("non_saturating", "hinge", "least_squares")


def check_training(training: TrainingSpec, model: ModelSpec) -> None:
    """Raise ``ConfigError`` for the first combination that cannot train as it says."""
    own = training.objective
    name = f"training.objective.name is {own.name}"
    _require(
        training.updates != "simultaneous" or own.name in WITH_RATIO,
        f"training.updates is simultaneous and {name}; expected alternating updates, or one of"
        f" {', '.join(WITH_RATIO)}: only there one backward pass serves both networks",
    )
    _require(
        training.real_label == 1.0 or own.name == "non_saturating",
        f"training.real_label is {training.real_label:g} and {name}; expected 1, or"
        " non_saturating: other objectives have no label",
    )
    _require(
        own.name != "wasserstein" or own.gradient_penalty > 0 or model.discriminator.spectral_norm,
        f"{name}, training.objective.gradient_penalty 0 and model.discriminator.spectral_norm"
        " false; expected a penalty (the paper: 10) or spectral normalization: without them D's"
        " logits grow without bound",
    )
    _check_penalties(training, model)
    _check_augment(training)
    _check_schedule(training)


def _check_penalties(training: TrainingSpec, model: ModelSpec) -> None:
    own = training.objective
    _require(
        not (own.has_penalty and model.discriminator.normalize),
        "model.discriminator.normalize is true and training.objective has a gradient penalty;"
        " expected normalize: false, because with batch normalization D's logit of an image depends"
        " on the other images",
    )
    if own.penalty != "finite_difference":
        return
    _require(
        own.gradient_penalty == 0,
        "training.objective.penalty is finite_difference and gradient_penalty"
        f" {own.gradient_penalty:g}; expected exact: a finite difference estimates the square of"
        " the gradient, not its norm",
    )
    _require(
        training.precision == "float32",
        f"training.objective.penalty is finite_difference and training.precision"
        f" {training.precision}; expected float32 or an exact penalty: the difference of two logits"
        " would be lost in rounding",
    )


def _check_augment(training: TrainingSpec) -> None:
    own = training.augment
    _require(
        own.mode != "adaptive" or training.objective.name in WITH_BORDER,
        f"training.augment.mode is adaptive and training.objective.name"
        f" {training.objective.name}; expected fixed, or one of {', '.join(WITH_BORDER)}: only"
        " there the sign of a logit says what D takes for real",
    )
    _require(
        own.mode == "none" or own.translation > 0 or own.cutout > 0 or own.color > 0,
        f"training.augment.mode is {own.mode}, and translation, cutout and color are 0; expected"
        " one of them above 0",
    )


def _check_schedule(training: TrainingSpec) -> None:
    own = training.schedule
    is_adam = "adam" in (
        training.generator_optimizer.name,
        training.discriminator_optimizer.name,
    )
    for key, is_set, is_used, needed in (
        ("learning_rate_factor", own.learning_rate_factor != 1.0, True, ""),
        ("gamma_factor", own.gamma_factor != 1.0, training.objective.has_penalty, "r1_gamma"),
        ("beta_2", own.beta_2 is not None, is_adam, "an optimizer named adam"),
        (
            "ema_half_life_images",
            own.ema_half_life_images is not None,
            training.ema_half_life_images is not None,
            "training.ema_half_life_images",
        ),
        (
            "augment_probability",
            own.augment_probability is not None,
            training.augment.mode == "fixed",
            "training.augment.mode fixed",
        ),
    ):
        if not is_set:
            continue
        _require(
            own.images > 0,
            f"training.schedule.{key} is {getattr(own, key):g} and training.schedule.images 0;"
            " expected the number of images over which it changes",
        )
        _require(
            is_used,
            f"training.schedule.{key} is {getattr(own, key):g}; expected {needed} with it, or it"
            " changes nothing",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
