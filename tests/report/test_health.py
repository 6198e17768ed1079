"""The diagnosis of a run: collapse by diversity or by missing kinds, balance, course of scores."""

import pytest

from job.report.health import diagnose

GOOD = {
    "dcgan_sample_diversity": 0.28,
    "dcgan_data_diversity": 0.3,
    "dcgan_quality_precision": 0.7,
    "dcgan_quality_coverage": 0.6,
    "dcgan_discriminator_accuracy": 0.8,
}


def test_nothing_is_said_of_nothing() -> None:
    assert diagnose({}, []) == []
    assert diagnose({"dcgan_data_diversity": 0.3, "dcgan_step": 7.0}, [(500, 9.0)]) == []


def test_a_good_run() -> None:
    assert diagnose(GOOD, [(500, 9.0), (1000, 6.0)]) == [
        "no sign of mode collapse: the newest grid is 93% as diverse as real images,"
        " coverage 0.60 at precision 0.70",
        "the Frechet distance still falls: the last score is the best",
    ]


def test_a_run_without_scores_is_judged_by_its_grids() -> None:
    values = {"dcgan_sample_diversity": 0.28, "dcgan_data_diversity": 0.3}
    assert diagnose(values, []) == [
        "no sign of mode collapse: the newest grid is 93% as diverse as real images"
    ]


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"dcgan_sample_diversity": 0.04}, "the newest grid is 13% as diverse as real images"),
        ({"dcgan_quality_coverage": 0.1}, "coverage 0.10 at precision 0.70"),
        # Trousers and shoes only, of docs/quality.md.
        (
            {"dcgan_quality_precision": 1.0, "dcgan_quality_coverage": 0.03},
            "coverage 0.03 at precision 1.00",
        ),
    ],
)
def test_one_sign_is_enough_for_collapse(changes: dict[str, float], sign: str) -> None:
    assert diagnose(GOOD | changes, []) == [f"probably mode collapse: {sign}"]


def test_bad_images_are_not_taken_for_collapse() -> None:
    """At the start, few images are like real ones and cover few of them."""
    values = GOOD | {"dcgan_quality_precision": 0.1, "dcgan_quality_coverage": 0.01}
    assert diagnose(values, []) == [
        "no sign of mode collapse: the newest grid is 93% as diverse as real images",
        "the images are too bad to tell if kinds are missing: coverage 0.01 at precision 0.10",
    ]
    del values["dcgan_sample_diversity"]
    assert diagnose(values, []) == [
        "the images are too bad to tell if kinds are missing: coverage 0.01 at precision 0.10"
    ]


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (0.99, "D orders 99% of the pairs rightly: G may learn little from it"),
        (0.5, "D orders 50% of the pairs rightly: it can hardly distinguish them"),
    ],
)
def test_a_d_that_is_too_strong_or_too_weak(accuracy: float, text: str) -> None:
    assert diagnose(GOOD | {"dcgan_discriminator_accuracy": accuracy}, [])[1:] == [text]


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (6.5, "Frechet distance: best 6 at step 1,000, last 6.5 at step 1,500"),
        (
            9.5,
            "the images became worse: Frechet distance best 6 at step 1,000, last 9.5 at"
            " step 1,500",
        ),
    ],
)
def test_the_last_score_is_compared_with_the_best(last: float, text: str) -> None:
    assert diagnose(GOOD, [(500, 9.0), (1000, 6.0), (1500, last)])[1:] == [text]


def test_the_best_of_a_long_run_may_be_older_than_the_kept_scores() -> None:
    values = GOOD | {"dcgan_quality_best_frechet_distance": 2.0}
    assert diagnose(values, [(500, 9.0), (1000, 6.0)])[1:] == [
        "the images became worse: Frechet distance best 2 at an earlier step, last 6 at step 1,000"
    ]
