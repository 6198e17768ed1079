"""Options that commands share, and what the program advises to type."""

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from job.cli.main import run_command
from job.cli.options import Sources, option_text, program, run_options, storage_options
from job.config.errors import ConfigError
from job.config.load import load_run
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from tests.report.runs import done_run

ROOT = Path(__file__).parents[2]
KEY = "arn:aws:kms:eu-west-1:111122223333:key/0a1b"


def parsed(*arguments: str) -> StorageSpec:
    found: list[StorageSpec] = []

    @click.command()
    @click.argument("run")
    @storage_options
    def command(run: str, storage: StorageSpec) -> None:
        found.append(storage)

    assert CliRunner().invoke(command, ["run", *arguments], catch_exceptions=False).exit_code == 0
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        ([], StorageSpec()),
        (
            ["--endpoint-url", "http://h:1", "--region", "r", "--virtual-host"],
            StorageSpec(endpoint_url="http://h:1", region="r", path_style=False),
        ),
        (
            [
                f"--set=storage.kms_key_id={KEY}",
                "--set=storage.server_side_encryption=aws:kms",
                "--path-style",
            ],
            StorageSpec(path_style=True, server_side_encryption="aws:kms", kms_key_id=KEY),
        ),
        (
            ["--set", "storage.request_payer=requester", "--set", "storage.max_attempts=2"],
            StorageSpec(request_payer="requester", max_attempts=2),
        ),
        (["--set", "storage.region=one", "--region", "two"], StorageSpec(region="two")),
    ],
)
def test_a_command_gets_the_storage_section_and_hands_it_on(
    arguments: list[str], spec: StorageSpec
) -> None:
    assert parsed(*arguments) == spec
    assert parsed(*shlex.split(option_text(spec))) == spec


def test_variables_of_the_environment_hold_for_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCGAN_SET_STORAGE__REGION", "one")
    monkeypatch.setenv("DCGAN_SET_STORAGE__MAX_ATTEMPTS", "2")
    monkeypatch.setenv("DCGAN_SET_TRAINING__STEPS", "3")  # of train alone
    assert parsed() == StorageSpec(region="one", max_attempts=2)
    assert parsed("--set", "storage.region=two").region == "two"
    assert parsed("--region", "three").region == "three"


def sources(*arguments: str, forms: tuple[str, ...] = ()) -> Sources:
    found: list[Sources] = []

    @click.command()
    @run_options(*forms)
    def command(sources: Sources) -> None:
        found.append(sources)

    result = CliRunner().invoke(command, arguments)
    if result.exception:
        raise result.exception
    return found[0]


def test_a_short_form_is_the_same_as_its_set() -> None:
    short = ["--epochs", "1.5", "--steps", "100", "--workers", "4", "--batch", "64"]
    expected = ["training.epochs=1.5", "training.steps=100", "workers.count=4"]
    expected.append("training.global_batch_size=64")
    long = [part for override in expected for part in ("--set", override)]
    places = ["--preset", "notebook", "--set", "uri=a", "--set", "data.uri=b"]
    specs = [load_run(*sources(*places, *arguments)) for arguments in (short, long)]
    assert specs[0] == specs[1]
    assert load_run(*sources(*places, *long, *short)) == specs[0]  # both, and the same values
    training = specs[0].training
    assert (training.epochs, training.steps, training.global_batch_size) == (1.5, 100, 64)
    assert specs[0].workers.count == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--steps", "4", "--set", "training.steps=5"],
            "--steps is 4 and --set training.steps is 5; expected one of them",
        ),
        (["--epochs", "4", "--set", "training={epochs: 5}"], "--set training.epochs is 5"),
        (["--workers", "1", "--set", "workers.count=null"], "--set workers.count is None"),
        (["--batch", "8", "--set", "training.global_batch_size=16"], "--batch is 8 and --set"),
    ],
)
def test_a_short_form_and_another_set_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sources(*arguments)
    assert message in str(caught.value)


def test_a_command_has_only_the_short_forms_it_asks_for() -> None:
    assert sources("--steps", "2", forms=("--steps",)).overrides == ("training.steps=2",)
    with pytest.raises(SystemExit):
        sources("--epochs", "2", forms=("--steps",))


@pytest.mark.slow
def test_the_next_command_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the program is not on the PATH, as after `make demo`."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = subprocess.run(
        f"{program()} --help", shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Usage: dcgan-train" in result.stdout, result.stderr
    done_run(open_store(str(tmp_path)))
    status = subprocess.run(
        [sys.executable, "-m", "job", "status", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    command = f"{program()} generate {tmp_path} --num 100 --format grid --out images.png"
    assert status.stdout.splitlines()[-1] == f"next           {command}"
    on_path = tmp_path / "dcgan-train"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "dcgan-train"
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", "/opt/my python/python")
    assert shlex.split(program()) == ["/opt/my python/python", "-m", "job"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ["train", "--latent-size", "5"],
            "--latent-size is a key of the configuration;"
            " use `dcgan-train train` with --set model.generator.latent_size=5",
        ),
        (["train", "--global-batch-size=96"], "--set training.global_batch_size=96"),
        (["train", "--workers.count", "2"], "--set workers.count=2"),
        (
            ["train", "--every_steps", "9"],
            "--set checkpoints.every_steps=9 or --set samples.every_steps=9",
        ),
        (["train", "--ema-decay"], "--set training.ema_decay=VALUE"),
        (["demo", "--epochs", "5"], "--set training.epochs=5"),
    ],
)
def test_an_option_that_is_a_key_of_the_configuration(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    assert hint in capsys.readouterr().err.splitlines()[-1]


def test_other_unknown_options_have_no_such_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["train", "--wrokers", "5"]) == 2
    assert "--set" not in capsys.readouterr().err
