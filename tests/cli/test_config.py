"""``dcgan-train config``: a new file, the origin of each value, the check, the schema."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from job.cli.main import run_command
from job.config.keys import value_keys
from job.config.load import load_run
from job.config.schema import editor_schema

PLACES = ["--set", "uri=runs/one", "--set", "data.uri=packed"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_from_init_to_a_configuration_that_is_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_command(["config", "init", "--preset", "dcgan64"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path}/run.yaml: set uri and data.uri"
    assert said[1].endswith(" config check --config run.yaml")
    path = Path("run.yaml")
    schema = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(Path(schema).read_text()))

    check = ["config", "check", "--config", "run.yaml"]
    for missing, given in (("uri", "uri: ''"), ("data.uri", "  uri: ''")):
        assert run_command(check) == 2
        assert capsys.readouterr().err.startswith(f"error: {missing} is not set; expected ")
        path.write_text(path.read_text().replace(f"\n{given}\n", f"\n{given[:-2]}{missing}\n"))
    assert run_command(check) == 0
    assert capsys.readouterr().out == "ok\n"
    assert load_run(None, path).preset == "dcgan64"
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.yaml", "run.schema.json"}


@pytest.mark.parametrize("name", ["run.yaml", "folder", "link"])
def test_init_overwrites_nothing(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("run.yaml").write_text("of the user")
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")
    assert run_command(["config", "init", "--out", name]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/{name}: exists; expected a new file. Choose another with --out, or"
        " remove it\n"
    )
    assert Path("run.yaml").read_text() == "of the user"
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.yaml", "folder", "link"}


def test_init_keeps_a_schema_and_refuses_an_unknown_preset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("run.schema.json").write_text("of the user")
    assert run_command(["config", "init", "--out", "new.yaml"]) == 0
    assert Path("run.schema.json").read_text() == "of the user"
    assert run_command(["config", "init", "--preset", "fashoin", "--out", "other.yaml"]) == 2
    assert "did you mean fashion?" in capsys.readouterr().err
    assert not Path("other.yaml").exists()


def test_show_names_the_origin_of_each_value_and_reads_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("run.yaml").write_text("preset: notebook\nuri: runs/one\ndata: {uri: packed}\n")
    monkeypatch.setenv("DCGAN_SET_WORKERS__COUNT", "4")
    command = ["config", "show", "--config", "run.yaml", "--epochs", "3"]
    assert run_command(command) == 0
    text = capsys.readouterr().out
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {
        "preset: notebook # file",
        "count: 4 # environment",
        "epochs: 3.0 # --set",
        "min_steps: 0 # own epochs",
        "activation: selu # preset notebook",
        "seed: 0 # default",
    } <= lines
    assert [line for line in text.splitlines() if len(line) > 80] == []
    sources = ("notebook", Path("run.yaml"), ["training.epochs=3", "workers.count=4"])
    Path("shown.yaml").write_text(text)
    assert load_run(None, Path("shown.yaml")) == load_run(*sources)

    assert run_command([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(value_keys())
    assert found["workers.count"] == {"value": 4, "origin": "environment"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "missing.yaml"], "missing.yaml: cannot read the configuration: No such file"),
        (["--config", "."], "cannot read the configuration: Is a directory"),
        (["--preset", ""], "preset is ''; expected one of dcgan128"),
        ([*PLACES, "--set", "wrokers.count=4"], "wrokers: unknown key; did you mean workers?"),
        ([*PLACES, "--workers", "3"], "training.global_batch_size is 32; expected a multiple of"),
        ([*PLACES, "--set", "uri=ftp://host/run"], "ftp://host/run: unknown scheme ftp://"),
        ([*PLACES, "--set", "checkpoints.resume=~nobody-here/run"], "knows no such home folder"),
    ],
)
def test_check_refuses_what_train_refuses(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for command in (["config", "check"], ["train", "--dry-run"]):
        assert run_command([*command, *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_check_opens_no_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Neither of which exists."""
    assert run_command(["config", "check", *PLACES]) == 0
    assert capsys.readouterr().out == "ok\n"
    assert list(tmp_path.iterdir()) == []


def test_the_schema_goes_through_a_link_and_its_name_is_not_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.json").write_text("before")
    (tmp_path / "link.json").symlink_to("there.json")
    assert run_command(["config", "schema", "--out", str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there.json").read_text() == editor_schema()
    assert run_command(["config", "init", "--out", str(tmp_path / "run.schema.json")]) == 2
    assert "the name of the schema beside it" in capsys.readouterr().err
    assert not (tmp_path / "run.schema.json").exists()


def test_the_schema_is_printed_or_replaces_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["config", "schema"]) == 0
    assert capsys.readouterr().out == editor_schema()
    for _ in range(2):
        assert run_command(["config", "schema", "--out", "my.json"]) == 0
    assert Path("my.json").read_text() == editor_schema()
    preset = json.loads(editor_schema())["properties"]["preset"]
    assert "fashion" in preset["anyOf"][0]["enum"]
