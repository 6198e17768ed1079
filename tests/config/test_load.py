"""Configuration: accepted and refused values, and the messages."""

from pathlib import Path

import pytest

from job.config.documents import preset_names
from job.config.errors import ConfigError
from job.config.load import load_run, origins, read_layers, to_yaml

REQUIRED = ["uri=runs/one", "data.uri=packed"]


def refusal(*overrides: str, preset: str | None = "notebook") -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(preset, None, [*REQUIRED, *overrides])
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.stesp=3", "training.stesp: unknown key; did you mean training.steps?"),
        ("trainig.steps=3", "trainig: unknown key; did you mean training?"),
        ("steps=3", "steps: unknown key; did you mean training.steps?"),
        ("Training.Steps=3", "Training: unknown key; did you mean training?"),
        ("training.STEPS=3", "training.STEPS: unknown key; did you mean training.steps?"),
        (
            "samples.something_else_entirely=3",
            "samples.something_else_entirely: unknown key; known here: columns, every_steps, rows",
        ),
        ("storage.aws_secret_access_key=x", "credentials do not belong in a configuration"),
        ("workers.count=two", "workers.count is 'two' (text); expected a whole number"),
        ("workers.count=1.5", "workers.count is 1.5 (a number); expected a whole number"),
        ("workers.count=0", "workers.count is 0; expected at least 1"),
        ("workers=3", "workers is 3; expected a section with keys"),
        ("data.verify=3", "data.verify is 3 (a whole number); expected true or false"),
        ("model.generator.filters=[a]", "expected a list of one or more positive whole numbers"),
        (
            "model.image_size=[28, 28, 1]",
            "model.image_size is [28, 28, 1]; expected a list of 2 positive whole numbers",
        ),
        (
            "training.updates=both",
            "training.updates is 'both'; expected one of alternating, simultaneous",
        ),
        ("training.real_label=0.5", "training.real_label is 0.5; expected more than 0.5"),
        ("training.generator_optimizer.learning_rate=.nan", "is nan; expected a finite number"),
        ("training.generator_optimizer.learning_rate=true", "expected a number"),
        ("training.generator_optimizer.learning_rate=fast", "is 'fast' (text); expected a number"),
        ("data.verify=1", "data.verify is 1 (a whole number); expected true or false"),
        ("data.cache_bytes=5 apples", "expected at least 1 byte, for example 64MiB, 1GB or"),
        ("data.cache_bytes=0", "data.cache_bytes is 0; expected at least 1 byte"),
        ("training=null", "training is None; expected a section with keys"),
        ("uri=!!binary aGVsbG8=", "uri is b'hello' (bytes); expected text"),
        ("training.5=3", "training.5: unknown key"),
        (
            "training.global_batch_size=100",
            "training.global_batch_size is 100; expected a multiple of the 8 replicas"
            " (for example 96 or 104)",
        ),
        (
            "training.global_batch_size=3",
            "training.global_batch_size is 3; expected a multiple of the 8 replicas"
            " (for example 8)",
        ),
        (
            "data.streams=3",
            "data.streams is 3; expected a divisor of training.global_batch_size, which is 32",
        ),
        ("model.image_size=30", "model.image_size has height 30; expected a multiple of 4"),
        (
            "preset=notbook",
            "preset is 'notbook'; expected one of dcgan128, dcgan32, dcgan64, fashion, notebook,"
            " small64; did you mean notebook?",
        ),
        (
            "storage.endpoint_url=http://me:hunter2@s3.local",
            "storage.endpoint_url holds a user or password",
        ),
        (
            "storage.endpoint_url=s3.local",
            "storage.endpoint_url is 's3.local'; expected http://host:port",
        ),
        (".=3", "--set .=3: expected key=value"),
        (
            "uri=packed/",
            "uri and data.uri are both packed/; expected a run folder apart from the images",
        ),
        (
            "metrics.port=65530",
            "metrics.port is 65530 for 8 workers, the last at 65537; expected at most 65528",
        ),
        ("model.channels=2", "model.channels is 2; expected 1 for grey or 3 for RGB"),
        ("nonsense", "--set nonsense: expected key=value"),
        ("quality.features=foo", "quality.features is 'foo'; expected auto, none, classifier, "),
        ("quality.features='file:'", "quality.features is 'file:'; expected auto, none"),
        ("uri=", "uri is None"),
    ],
)
def test_a_wrong_value_is_refused_with_key_found_and_expected(override: str, message: str) -> None:
    text = refusal(
        "workers.count=8", override, preset=None if override.startswith("preset") else "notebook"
    )
    assert message in text
    assert "hunter2" not in text


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "preset: notebook\n"
        "training: {global_batch_size: 48, generator_optimizer: {learning_rate: 2e-4}}\n"
    )
    spec = load_run(path=path, overrides=[*REQUIRED, "training.global_batch_size=64"])
    assert spec.training.global_batch_size == 64  # --set over the file
    assert spec.training.generator_optimizer.learning_rate == 2e-4  # the file over the preset
    assert spec.training.generator_optimizer.name == "rmsprop"  # the preset's other keys stay
    assert spec.preset == "notebook"


def test_the_environment_is_between_the_file_and_set(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("preset: notebook\ntraining: {steps: 1, min_steps: 2, epochs: 3}\n")
    variables = {
        "DCGAN_SET_TRAINING__STEPS": "10",
        "DCGAN_SET_TRAINING__MIN_STEPS": "20",
        "DCGAN_SET_PRESET": "dcgan64",
    }
    sources = (path, [*REQUIRED, "training.min_steps=200"], variables)
    training = load_run(None, *sources).training
    assert (training.steps, training.min_steps, training.epochs) == (10, 200, 3)
    assert training.global_batch_size == 128  # of dcgan64
    found = origins(read_layers(None, *sources))
    assert {key: found[f"training.{key}"] for key in ("steps", "min_steps", "epochs")} == {
        "steps": "environment",
        "min_steps": "--set",
        "epochs": "file",
    }
    assert found["preset"] == "environment"
    assert found["training.global_batch_size"] == "preset dcgan64"
    assert found["seed"] == "default"
    assert load_run(None, path, REQUIRED).training.steps == 1  # only variables that are given


def test_the_origin_of_values_that_follow_from_others() -> None:
    found = origins(read_layers("fashion", None, ["training.epochs=3"]))
    assert found["preset"] == "--preset"
    assert found["training.min_steps"] == "own epochs"
    assert found["model.generator.kernel_size"] == "preset fashion"
    assert set(origins(read_layers()).values()) == {"default"}


def test_the_preset_is_that_of_set_then_of_the_option_then_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("preset: notebook\n")
    assert load_run("fashion", path, [*REQUIRED, "preset=small64"]).preset == "small64"
    assert load_run("fashion", path, REQUIRED, {"DCGAN_SET_PRESET": "small64"}).preset == "fashion"
    notebook, small = (
        load_run("fashion", None, [*REQUIRED, f"preset={name}"]) for name in ("notebook", "small64")
    )
    assert (notebook.model.image_size[0], small.model.image_size[0]) == (28, 64)


def test_a_wrong_value_from_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        load_run("notebook", None, REQUIRED, {"DCGAN_SET_WORKERS__COUNT": "two"})
    assert str(caught.value) == (
        "workers.count is 'two' (text); expected a whole number (from DCGAN_SET_WORKERS__COUNT)"
    )


def test_set_changes_one_of_two_sections_that_a_yaml_anchor_makes_equal(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "training: {generator_optimizer: &same {beta_1: 0.5}, discriminator_optimizer: *same}\n"
    )
    sources = (tmp_path / "run.yaml", [*REQUIRED, "training.generator_optimizer.beta_1=0.7"])
    training = load_run("notebook", *sources).training
    assert training.generator_optimizer.beta_1 == 0.7
    assert training.discriminator_optimizer.beta_1 == 0.5
    found = origins(read_layers("notebook", *sources))
    assert found["training.discriminator_optimizer.beta_1"] == "file"


def test_an_empty_section_of_the_file_keeps_the_values_of_the_preset(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("training:\n")
    overrides = [*REQUIRED, "training.steps=5"]
    spec = load_run("dcgan64", tmp_path / "run.yaml", overrides)
    assert spec == load_run("dcgan64", None, overrides)


@pytest.mark.parametrize(
    ("preset", "overrides", "min_steps"),
    [
        ("notebook", [], 0),
        ("dcgan64", [], 5000),
        ("dcgan64", ["training.epochs=25"], 0),  # the preset's number, but the user's choice
        ("dcgan64", ["training.epochs=25", "training.min_steps=700"], 700),
        ("dcgan64", ["training.steps=10"], 5000),
        (None, [], 5000),
    ],
)
def test_epochs_of_your_own_are_taken_as_they_are(
    preset: str | None, overrides: list[str], min_steps: int
) -> None:
    assert load_run(preset, overrides=[*REQUIRED, *overrides]).training.min_steps == min_steps


def test_every_way_to_write_a_value() -> None:
    overrides = [
        "training.generator_optimizer.learning_rate=2e-4",
        "data.cache_bytes=1.5 GB",
        "model.image_size=32",
    ]
    spec = load_run("notebook", overrides=[*REQUIRED, *overrides])
    assert spec.training.generator_optimizer.learning_rate == 2e-4
    assert (spec.data.cache_bytes, type(spec.data.cache_bytes)) == (1_500_000_000, int)
    assert spec.model.image_size == (32, 32)


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_trains_and_its_yaml_reads_back_equal(preset: str, tmp_path: Path) -> None:
    spec = load_run(preset, overrides=REQUIRED)
    path = tmp_path / "run.yaml"
    path.write_text(to_yaml(spec))
    assert load_run(path=path) == spec


def test_the_notebook_preset_is_the_notebooks_recipe() -> None:
    spec = load_run("notebook", overrides=REQUIRED)
    assert (spec.training.global_batch_size, spec.training.epochs, spec.training.updates) == (
        32,
        10.0,
        "alternating",
    )
    assert (
        spec.model.generator.latent_size,
        spec.model.generator.filters,
        spec.model.generator.activation,
    ) == (100, (128, 64), "selu")
    assert (
        spec.model.discriminator.filters,
        spec.model.discriminator.leaky_slope,
        spec.model.discriminator.dropout,
    ) == (
        (64, 128),
        0.2,
        0.3,
    )
    for optimizer in (spec.training.generator_optimizer, spec.training.discriminator_optimizer):
        assert (optimizer.name, optimizer.learning_rate, optimizer.rho) == ("rmsprop", 0.001, 0.9)
    assert (
        spec.training.real_label,
        spec.training.ema_decay,
        spec.samples.rows,
        spec.samples.columns,
    ) == (1.0, 0.0, 5, 5)
