"""``dcgan-train sweep``: wrong options start nothing; runs are scored, ordered and resumed."""

import math
import signal
from pathlib import Path

import keras
import pytest

from job.cli.main import run_command
from job.cli.sweep import DEFAULT_STEPS, seed_means, sweep
from tests.launch.program import environment, run, started, train_command, whole_checkpoints
from tests.training.planned import pack_512

R1 = "training.objective.r1_gamma"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a Keras model from images to features."""
    images = keras.Input((28, 28, 1))
    x = keras.layers.AveragePooling2D(7)(images)
    path = tmp_path_factory.mktemp("features") / "features.keras"
    keras.Model(images, keras.layers.Flatten()(x)).save(path)
    return path


@pytest.mark.training
@pytest.mark.parametrize(
    ("over", "message"),
    [
        ([R1], "--over training.objective.r1_gamma: expected KEY=VALUE,VALUE,..."),
        ([f"{R1}="], "expected KEY=VALUE,VALUE,... with different values"),
        ([f"{R1}=1,1"], "expected KEY=VALUE,VALUE,... with different values"),
        ([f"{R1}=[1"], "expected KEY=VALUE,VALUE,... with different values"),
        ([f"{R1}=0,-1"], "training.objective.r1_gamma is -1; expected"),
        (["training.gamma=0,1"], "training.gamma: unknown key"),
        (["seed=0,1", "training.global_batch_size=16,32", f"{R1}=0,1"], "--over has 3 keys and 8"),
        (["seed=0,1", "seed=2,3"], "--over has 2 keys and 2 runs; expected at most 2 different"),
        ([f"seed={','.join(map(str, range(65)))}"], "--over has 1 key and 65 runs"),
        (["seed=0,1"], "compares scores, and runs on"),
        (["quality.num_images=100,200"], "--over quality.num_images: a sweep compares recipes on"),
        (["uri=a,b"], "--over uri: a sweep compares recipes on the same images"),
        ([f"{R1}=1,1.0"], "expected KEY=VALUE,VALUE,... with different values"),
    ],
)
def test_a_wrong_sweep_starts_nothing(
    data: Path, tmp_path: Path, over: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = train_command(data, tmp_path / "sweep")[1:]
    options = [part for argument in over for part in ("--over", argument)]
    assert run_command(["sweep", *settings, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_seeds_are_averaged_and_a_value_with_a_failed_run_is_last() -> None:
    found = {
        (0.1, 0): 9.0,
        (0.1, 1): 11.0,
        (1, 0): math.inf,
        (1, 1): 2.0,
        (10, 0): 5.0,
        (10, 1): 7.5,
    }
    runs = [({R1: value, "seed": seed}, distance) for (value, seed), distance in found.items()]
    assert seed_means(runs) == [
        ("mean over seeds", "Frechet distance", "range", "scored"),
        (f"{R1}=10", "6.25", "5.00 to 7.50", "2 of 2"),
        (f"{R1}=0.1", "10.00", "9.00 to 11.00", "2 of 2"),
        (f"{R1}=1", "2.00", "2.00 to 2.00", "1 of 2"),
    ]
    assert seed_means([({"seed": 0}, 1.0), ({"seed": 1}, 2.0)]) == []
    assert seed_means([({R1: 0, "training.steps": 9}, 1.0)]) == []


def test_steps_given_in_two_ways(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", *train_command(data, tmp_path / "sweep", training__steps=5)[1:]]
    assert run_command([*command, "--over", "seed=0,1", "--steps", "6"]) == 2
    assert "--steps is 6 and --set training.steps is 5" in capsys.readouterr().err
    assert f" {DEFAULT_STEPS:,} steps unless training.steps is set" in " ".join(
        (sweep.help or "").split()
    )


@pytest.mark.live
@pytest.mark.cluster
@pytest.mark.training
@pytest.mark.timeout(600)
def test_runs_are_scored_and_an_interrupted_sweep_resumes(
    data: Path, features: Path, tmp_path: Path, ray_folder: Path
) -> None:
    settings = {
        "quality.features": f"file:{features}",
        "quality.num_images": 64,
        "checkpoints.every_steps": 20,
        "workers.count": 1,
    }
    command = ["sweep", *train_command(data, tmp_path / "sweep", **settings)[1:]]
    command += ["--over", f"{R1}=0,0.5", "--steps", "60"]
    log, variables = tmp_path / "sweep.log", environment(ray_folder)

    def folder(value: str) -> Path:
        (found,) = (tmp_path / "sweep").glob(f"{R1}-{value}-*")
        return found

    with started(command, log, variables) as program:
        program.wait_for_text("run 1 of 2: training.objective.r1_gamma=0")
        program.wait_until(
            lambda: list((tmp_path / "sweep").glob("*/checkpoints/step-*/manifest.json"))
        )
        program.send(signal.SIGINT)
        assert program.exit_code() == 130
        program.nothing_left()
        saved = whole_checkpoints(folder("0"))
        assert saved
        assert len(list((tmp_path / "sweep").iterdir())) == 1
    code, output = run(command, log, variables)
    assert code == 0, output
    *_, header, first, second, best, following = output.splitlines()
    assert header.split()[:3] == [R1, "Frechet", "distance"]
    rows = {row.split()[0]: float(row.split()[1]) for row in (first, second)}
    assert set(rows) == {"0", "0.5"}
    assert float(first.split()[1]) <= float(second.split()[1])
    assert best == f"best run: {R1}={first.split()[0]}, one seed: confirm it with others"
    assert f"generate {folder(first.split()[0])} --best" in following
    for value in rows:
        assert max(whole_checkpoints(folder(value))) == 60
    code, again = run(command, log, variables)
    assert code == 0, again
    assert again.splitlines()[-5:] == [header, first, second, best, following]
