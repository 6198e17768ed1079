"""Configuration: accepted and refused values, and the messages."""

from pathlib import Path

import pytest
import yaml

from job.config.errors import ConfigError
from job.config.load import all_keys, load_run, preset_names, to_yaml
from job.config.waits import save_wait_seconds

REQUIRED = ["uri=runs/one", "data.uri=packed"]


def refusal(*overrides: str, preset: str | None = "notebook", path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(preset, path, [*REQUIRED, *overrides])
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
        ("training.generator_optimizer.learning_rate=.nan", "expected a number"),
        (
            "training.global_batch_size=100",
            "training.global_batch_size is 100; expected a multiple of the 8 replicas (for example 96 or 104)",
        ),
        (
            "training.global_batch_size=3",
            "training.global_batch_size is 3; expected a multiple of the 8 replicas (for example 8)",
        ),
        ("model.image_size=30", "model.image_size has height 30; expected a multiple of 4"),
        (
            "preset=notbook",
            "preset is 'notbook'; expected one of dcgan128, dcgan32, dcgan64, fashion, notebook; did you mean notebook?",
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
        ("uri=", "uri is None"),
    ],
)
def test_a_wrong_value_is_refused_with_key_found_and_expected(override: str, message: str) -> None:
    text = refusal(
        "workers.count=8", override, preset=None if override.startswith("preset") else "notebook"
    )
    assert message in text
    assert "hunter2" not in text


def test_combinations_that_cannot_train_are_refused() -> None:
    assert "expected alternating updates with batch normalization in D" in refusal(
        "model.discriminator.normalize=true", "training.updates=simultaneous"
    )
    assert "expected batch_norm: local" in refusal(
        "training.jit_compile=true", "training.batch_norm=synchronized"
    )
    assert "expected one of them" in refusal("training.epochs=null")
    assert "data.uri is not set" in refusal("data.uri=''")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "found a list at the top"),
        ("a: [", "not valid YAML"),
        ("seed: 1\nseed: 2", "not valid YAML in line 2, column 1: the key seed is there twice"),
        (
            "training:\n\tepochs: 2",
            "in line 2, column 1: while scanning for the next token found character '\\t' that cannot start any token",
        ),
        ("training:\n\tepochs: 2", "Indent with spaces: YAML takes no tabs"),
        ("[" * 3000, "nested too deeply"),
        ("seed: 1\nsede: 2", "sede: unknown key; did you mean seed?"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert message in refusal(path=path)


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(path=tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    for content in (b"\x89PNG\r\n\x1a\n", b"\xff\xfe\x00\xd8", b"seed: \xfc"):
        binary.write_bytes(content)
        assert "not a text file; expected YAML in UTF-8" in refusal(path=binary)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes("uri: Läufe/ü\r\ntraining:\r\n  epochs: 2\r\n".encode(encoding))
    spec = load_run("notebook", path, ["data.uri=packed"])
    assert (spec.uri, spec.training.epochs) == ("Läufe/ü", 2.0)


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "preset: notebook\ntraining: {global_batch_size: 48, generator_optimizer: {learning_rate: 2e-4}}\n"
    )
    spec = load_run(path=path, overrides=[*REQUIRED, "training.global_batch_size=64"])
    assert spec.training.global_batch_size == 64  # --set over the file
    assert spec.training.generator_optimizer.learning_rate == 2e-4  # the file over the preset
    assert spec.training.generator_optimizer.name == "rmsprop"  # the preset's other keys stay
    assert spec.preset == "notebook"


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


def test_every_key_of_a_preset_file_is_known() -> None:
    folder = Path(__file__).parents[2] / "job" / "config" / "presets"
    for path in folder.glob("*.yaml"):
        assert set(_dotted(yaml.safe_load(path.read_text()))) <= set(all_keys())


def _dotted(values: dict, prefix: str = "") -> list[str]:
    names = []
    for name, value in values.items():
        names += _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return names


@pytest.mark.parametrize("name", ["2026-02-03", "2026-02-30"])
def test_a_date_is_text(name: str) -> None:
    assert load_run("notebook", overrides=[*REQUIRED, f"uri={name}"]).uri == name


@pytest.mark.parametrize(
    ("uri", "train_seconds", "save_wait"),
    [
        (
            "s3://bucket/run",
            450,
            0.8 * (450 - 160),
        ),  # the defaults: a grid may take 20 s, and two attempts of 10 + 60 s
        ("s3://bucket/run", 170, 8),
        ("runs/one", 60, 32),
        ("runs/one", 10, 0),
        ("runs/one", 0, 300),
        ("runs/one", 10_000, 300),
    ],
)
def test_a_save_waits_less_than_the_other_workers_may(
    uri: str, train_seconds: float, save_wait: float
) -> None:
    settings = [
        f"uri={uri}",
        f"watchdog.train_seconds={train_seconds}",
        "data.fetch_patience_seconds=5",
    ]
    spec = load_run("notebook", overrides=["data.uri=b", *settings])
    assert save_wait_seconds(spec) == pytest.approx(save_wait)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["uri=s3://bucket/run", "watchdog.train_seconds=60", "data.fetch_patience_seconds=30"],
            "watchdog.train_seconds is 60; expected more than 160, because a grid may wait that long for the store"
            r" \(storage timeouts of 10 \+ 60 s, twice, and retries\)",
        ),
        (
            ["uri=runs/one", "watchdog.start_seconds=300"],
            r"watchdog.start_seconds is 300; expected more than 625, .*: data.fetch_patience_seconds \(300\) twice, checkpoints",
        ),
        (
            ["uri=s3://bucket/run", "watchdog.start_seconds=765"],
            "watchdog.start_seconds is 765; expected more than 765",
        ),
    ],
)
def test_a_limit_below_the_waits_for_the_store_is_refused(settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_run("notebook", overrides=["data.uri=b", *settings])
