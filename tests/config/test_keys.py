"""Names of keys, and the nearest one to a name that is none."""

import pytest

from job.config.keys import all_keys, nearest_key, unknown_key, value_keys


def test_sections_are_keys_without_a_value() -> None:
    assert list(all_keys())[:5] == ["uri", "preset", "seed", "data", "data.uri"]
    sections = set(all_keys()) - set(value_keys())
    assert {"data", "training", "training.objective", "model.generator"} < sections
    assert "training.objective.name" in value_keys()
    assert [key for key in value_keys() if not all_keys()[key].description] == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("workers.cuont", "workers.count"),
        ("WORKERS.COUNT", "workers.count"),
        ("conditional", "model.conditional"),
        ("generator.latent_size", "model.generator.latent_size"),
        ("nothing_like_it", None),
    ],
)
def test_the_nearest_key(name: str, nearest: str | None) -> None:
    assert nearest_key(name, list(value_keys())) == nearest


def test_an_unknown_key_names_the_nearest_or_all_of_its_section() -> None:
    assert unknown_key("samples", "row") == "samples.row: unknown key; did you mean samples.rows?"
    assert unknown_key("samples", "something_else").endswith(
        "; known here: columns, every_steps, rows"
    )
    assert "credentials do not belong in a configuration" in unknown_key("", "s3_password")
