"""Paths of users: one rule for all options and keys."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.config.errors import ConfigError
from job.config.load import load_run
from job.sources.open_source import canonical_uri
from job.storage.paths import absolute_uri, file_uri, local_path
from job.storage.uri import open_store
from job.training.preflight import with_absolute_paths
from tests.report.runs import done_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_a_path_and_a_uri(home: Path) -> None:
    cases = {
        "~/grid.png": home / "grid.png",
        "a/b": Path.cwd() / "a/b",
        "file:///a/My%20Pictures": Path("/a/My Pictures"),
        "file:///a/%C3%BC%ff": Path(os.fsdecode(b"/a/\xc3\xbc\xff")),
        "file:///a/My Pictures/": Path("/a/My Pictures"),
        "/a/100%25": Path("/a/100%25"),  # a plain path is not decoded
        "file:///~/a": Path("/~/a"),
    }
    assert {text: local_path(text) for text in cases} == cases
    for path in cases.values():
        assert local_path(file_uri(path)) == path
        assert open_store(open_store(str(path)).uri).uri == open_store(str(path)).uri
        assert canonical_uri(file_uri(path)) == str(path)


def test_an_earlier_uri_is_found_undecoded(tmp_path: Path) -> None:
    (tmp_path / "100%25").mkdir()
    assert local_path(f"file://{tmp_path}/100%25") == tmp_path / "100%25"
    (tmp_path / "100%").mkdir()
    assert local_path(f"file://{tmp_path}/100%25") == tmp_path / "100%"


@pytest.mark.parametrize("text", ["~nosuchuser/a", "", " ", "a\0b", "file://a", "file:///a%00b"])
def test_text_that_names_no_path_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        local_path(text)


@pytest.mark.slow
def test_every_option_that_takes_a_path(home: Path) -> None:
    done_run(open_store("~/my run"))
    assert sorted(entry.name for entry in home.iterdir()) == ["my run"]
    uri = f"file://{home}/my%20run"
    assert run_command(["checkpoints", "list", uri]) == 0
    assert run_command(["report", uri, "--out", "~/report.html"]) == 0
    assert run_command(["report", "~/my run", "--out", f"file://{home}/my%20report.html"]) == 0
    assert (home / "report.html").read_bytes()
    assert (home / "my report.html").read_bytes()
    assert run_command(["data", "pack", "synthetic:garments:4", "~/packed", "--tmp", "~"]) == 0
    assert run_command(["data", "verify", f"file://{home}/packed"]) == 0
    (home / "run.yaml").write_text("uri: a\nunknown: 1\n")
    assert run_command(["train", "--config", "~/run.yaml"]) == 2
    assert list(Path.cwd().iterdir()) == []  # no folder named ~


@pytest.mark.parametrize(
    "arguments",
    [
        "status ~nosuchuser/run",
        "report ~nosuchuser/run",
        "checkpoints list ~nosuchuser/run",
        "generate ~nosuchuser/run --num 1 --out x",
        "data pack ~nosuchuser/a ~/b",
        "data pack synthetic:garments:4 ~nosuchuser/b",
        "data pack synthetic:garments:4 b --tmp ~nosuchuser/b",
        "train --config ~nosuchuser/run.yaml",
        "train --preset fashion --set uri=~nosuchuser/run --set data.uri=a",
        "train --preset fashion --set uri=a --set data.uri=~nosuchuser/run",
        "demo --folder ~nosuchuser/a",
    ],
)
def test_a_home_folder_that_is_not_known(
    home: Path, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments.split()) == 2
    assert re.search(
        "~nosuchuser/.*: this system knows no such home folder", capsys.readouterr().err
    )
    assert list(Path.cwd().iterdir()) == []


NO_HOME = """
import os, sys
# the home folder is that of the real user; the other one still reads the interpreter's files
os.setreuid(54321, 0)
from job.cli.main import run_command
sys.exit(run_command(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root, to become a user who has no entry in the system's table"
)
def test_a_user_without_a_home(tmp_path: Path) -> None:
    """As on OpenShift: local data needs no cache and so no home; other data names the key."""
    assert (
        run_command(
            ["data", "pack", "synthetic:garments:64", str(tmp_path / "packed"), "--size", "28x28"]
        )
        == 0
    )
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME")
    }
    train = [
        "train",
        "--preset",
        "fashion",
        "--dry-run",
        "--set",
        f"uri={tmp_path}/runs/a",
        "--set",
    ]
    command = [sys.executable, "-c", NO_HOME, *train]
    local = subprocess.run(
        [*command, f"data.uri={tmp_path}/packed"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert local.returncode == 0, local.stderr
    remote = subprocess.run(
        [*command, "data.uri=s3://bucket/packed"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert remote.returncode == 2
    assert remote.stderr.startswith(
        "error: data.cache_dir is ~/.cache/dcgan-train: this system knows no such home folder;"
        " expected another path"
    )


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user without an entry")
def test_ray_train_is_imported_without_a_home() -> None:
    program = """
import os
from job.config.host import ensure_home
os.setreuid(54321, 0)
ensure_home()
import job.launch.trainer
"""
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, check=True, timeout=120)


def test_the_cache_is_below_the_home_folder(home: Path) -> None:
    spec = with_absolute_paths(load_run("fashion", overrides=["uri=a", "data.uri=b"]))
    assert spec.data.cache_dir == f"{home}/.cache/dcgan-train"


def test_an_absolute_uri_keeps_what_has_a_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a wrong one, which opening it then rejects."""
    monkeypatch.chdir(tmp_path)
    for uri in ("s3://bucket/a", "s3:bucket", "file:///a%20b", "http://x"):
        assert absolute_uri(uri) == uri
    assert absolute_uri("runs/first") == str(tmp_path / "runs" / "first")
    assert absolute_uri("/a/b:c") == "/a/b:c"
