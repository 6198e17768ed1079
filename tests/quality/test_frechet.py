"""The Frechet distance against its closed forms and a general matrix root."""

import numpy as np
import pytest

from job.quality.frechet import Moments, frechet_distance, moments


def features(seed: int, num: int = 500, size: int = 16, scale: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(size, size))
    return scale * random.normal(size=(num, size)) @ mixing + random.normal(size=size)


def test_normal_distributions_on_a_line_have_a_closed_form() -> None:
    first = Moments(np.array([1.0]), np.array([[4.0]]))
    second = Moments(np.array([4.0]), np.array([[25.0]]))
    assert frechet_distance(first, second) == pytest.approx((1 - 4) ** 2 + (2 - 5) ** 2)


def test_diagonal_covariances_have_a_closed_form() -> None:
    mean, spread = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    other_mean, other = np.array([1.0, 1.0, 0.0]), np.array([2.0, 1.0, 5.0])
    found = frechet_distance(
        Moments(mean, np.diag(spread**2)), Moments(other_mean, np.diag(other**2))
    )
    assert found == pytest.approx(
        np.square(mean - other_mean).sum() + np.square(spread - other).sum()
    )


@pytest.mark.parametrize("num", [500, 10])  # with 10 rows of 16 the covariances are singular
def test_it_is_that_of_the_general_matrix_root(num: int) -> None:
    """From the eigenvalues and eigenvectors of ``C1 C2``, which is not symmetric."""
    real, generated = moments(features(0, num)), moments(features(1, num, scale=1.3))
    values, vectors = np.linalg.eig(real.covariance @ generated.covariance)
    root = vectors @ np.diag(np.sqrt(values.astype(complex))) @ np.linalg.inv(vectors)
    expected = np.square(real.mean - generated.mean).sum() + np.trace(
        real.covariance + generated.covariance - 2.0 * np.real(root)
    )
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-6)


def test_equal_features_have_distance_zero_and_order_does_not_matter() -> None:
    real, generated = moments(features(0)), moments(features(1))
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(real, generated) == pytest.approx(frechet_distance(generated, real))


def test_moments_are_numpys() -> None:
    values = features(3)
    found = moments(values.astype(np.float32))
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(values, rowvar=False), rtol=1e-4, atol=1e-4)


def test_one_row_has_no_moments() -> None:
    with pytest.raises(ValueError, match="1 rows of features; expected at least 2"):
        moments(features(0, 1))
