"""Is this mode collapse? A diagnosis as text, from the last metrics of a run and its scores.

Mode collapse: the generator makes few kinds of images, or one. Losses do not show it, because D
judges images one by one.
"""

import math
from collections.abc import Mapping, Sequence

# The alerts of charts/dcgan-train/files/rules/alerts.yaml have the same limits.
MIN_DIVERSITY = 0.3  # of the grid's images, as a share of the real ones'
MIN_KINDS = 1 / 3  # coverage, as a share of precision
MIN_PRECISION = 0.3  # below, images are too bad for a judgement on their kinds
MIN_ACCURACY, MAX_ACCURACY = 0.6, 0.95
WORSE_RATIO = 1.5  # of the last distance to the best

Scores = Sequence[tuple[float, float]]  # step and Frechet distance, in the order of steps


def diagnose(values: Mapping[str, float], scores: Scores) -> list[str]:
    """Return sentences, the answer about collapse first; none if nothing is known.

    ``values`` are a run's last metrics by their Prometheus names.
    """
    best = values.get("dcgan_quality_best_frechet_distance", math.inf)
    return [*_collapse(values), *_balance(values), *_course(scores, best)]


def _collapse(values: Mapping[str, float]) -> list[str]:
    facts: list[str] = []
    signs: list[str] = []
    unclear: list[str] = []
    generated, real = values.get("dcgan_sample_diversity"), values.get("dcgan_data_diversity")
    if generated is not None and real:
        text = f"the newest grid is {generated / real:.0%} as diverse as real images"
        (signs if generated < MIN_DIVERSITY * real else facts).append(text)
    precision, coverage = (
        values.get(f"dcgan_quality_{name}") for name in ("precision", "coverage")
    )
    if precision is not None and coverage is not None:
        text = f"coverage {coverage:.2f} at precision {precision:.2f}"
        if precision < MIN_PRECISION:
            unclear = [f"the images are too bad to tell if kinds are missing: {text}"]
        else:
            (signs if coverage < MIN_KINDS * precision else facts).append(text)
    if signs:
        return [f"probably mode collapse: {', '.join(signs)}", *unclear]
    return [*([f"no sign of mode collapse: {', '.join(facts)}"] if facts else []), *unclear]


def _balance(values: Mapping[str, float]) -> list[str]:
    accuracy = values.get("dcgan_discriminator_accuracy")
    if accuracy is None or MIN_ACCURACY <= accuracy <= MAX_ACCURACY:
        return []
    if accuracy > MAX_ACCURACY:
        return [f"D orders {accuracy:.0%} of the pairs rightly: G may learn little from it"]
    return [f"D orders {accuracy:.0%} of the pairs rightly: it can hardly distinguish them"]


def _course(scores: Scores, best_of_run: float) -> list[str]:
    """Compare the last score with the best; ``scores`` may lack the first ones of a long run."""
    if len(scores) < 2:
        return []
    best_step, best = min(scores, key=lambda score: score[1])
    last_step, last = scores[-1]
    if best_of_run < 0.999 * best:  # scores have four digits
        return _compared(f"{best_of_run:.3g} at an earlier step", last_step, last, best_of_run)
    if last_step == best_step:
        return ["the Frechet distance still falls: the last score is the best"]
    return _compared(f"{best:.3g} at step {best_step:,.0f}", last_step, last, best)


def _compared(best_text: str, last_step: float, last: float, best: float) -> list[str]:
    text = f"best {best_text}, last {last:.3g} at step {last_step:,.0f}"
    if last > WORSE_RATIO * best:
        return [f"the images became worse: Frechet distance {text}"]
    return [f"Frechet distance: {text}"]
