"""``dcgan-train sweep``."""

import itertools
import json
import math
import re
import shlex
import signal
import statistics
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from job.cli.options import Sources, option_text, program, run_options
from job.cli.output import say
from job.cli.scores_text import table_lines
from job.config.errors import ConfigError
from job.config.text import counted

if TYPE_CHECKING:
    from job.config.spec import RunSpec

MAX_KEYS, MAX_RUNS = 2, 64
DEFAULT_STEPS = 2000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Keys of a recipe; others change nothing of the images, or what a score means.
COMPARABLE = re.compile(r"seed|preset|(training|model|workers)\..+")
COLUMNS = (
    "Frechet distance",
    "at step",
    "KID",
    "precision",
    "recall",
    "coverage",
    "images/s",
    "failed",
)


class Trial(NamedTuple):
    """One training: the values of the keys of the sweep, its run, and the options of `train`."""

    values: Mapping[str, Any]
    spec: "RunSpec"
    options: list[str]


@click.command()
@run_options("--steps", "--workers", "--batch")
@click.option(
    "--over",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,VALUE,...",
    help="Key and the values to try, for example training.objective.r1_gamma=0.1,1,10. Given twice:"
    " every pair of values.",
)
def sweep(sources: Sources, over: tuple[str, ...]) -> None:
    """Train with every value of one or two keys, one run after the other, and compare the scores.

    Each run has its own folder below uri, and 2,000 steps unless training.steps is set. The same
    command again resumes; finished runs are only shown.
    """
    trials = list(_trials(sources, over))
    for trial in trials:
        _check(trial.spec)
    failures = {}
    for number, trial in enumerate(trials, start=1):
        say(f"run {number} of {len(trials)}: {_text(trial.values)}", err=True)
        if code := _train(trial):
            failures[trial.spec.uri] = code
    rows = sorted((_row(trial, failures) for trial in trials), key=lambda row: row.distance)
    best = rows[0]
    for line in table_lines([(*best.trial.values, *COLUMNS), *(row.cells for row in rows)]):
        say(line)
    if means := seed_means((row.trial.values, row.distance) for row in rows):
        say("")
        for line in table_lines(means):
            say(line)
    if best.distance < math.inf:
        folder, options = shlex.quote(best.trial.spec.uri), option_text(best.trial.spec.storage)
        hint = "" if "seed" in best.trial.values else ", one seed: confirm it with others"
        command = f"{program()} generate {folder} --best --num 100 --format grid --out best.png"
        say(f"best run: {_text(best.trial.values)}{hint}")
        say(f"next: {command}{options}")
    if failures:
        sys.exit(next(iter(failures.values())))


def _train(trial: Trial) -> int:
    """Run `train` in a new process, as each loads TensorFlow and Ray; return its exit code.

    A signal to end this process goes to the run alone, which saves and ends; then this one exits
    with its code. The run has another process group, so that Ctrl-C does not reach it twice.
    """
    command = [sys.executable, "-m", "job", "train", *trial.options]
    nothing = subprocess.DEVNULL
    received: list[int] = []
    runs: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for run in runs:
            run.send_signal(number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in heeded}
    try:
        runs.append(subprocess.Popen(command, stdin=nothing, stdout=nothing, process_group=0))
        for number in received[:1]:  # before the run was known
            runs[0].send_signal(number)
        code = runs[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = 128 - code if code < 0 else code
    if received:
        sys.exit(code or 128 + received[0])
    return code


class _Row(NamedTuple):
    trial: Trial
    distance: float
    cells: tuple[str, ...]


def _trials(sources: Sources, over: tuple[str, ...]) -> Iterator[Trial]:
    from job.config.load import load_run

    tried = dict(_values(argument) for argument in over)
    num_runs = 1
    for several in tried.values():
        num_runs *= len(several)
    if len(tried) > MAX_KEYS or len(tried) < len(over) or num_runs > MAX_RUNS:
        raise ConfigError(
            f"--over has {counted(len(over), 'key')} and {counted(num_runs, 'run')}; expected at"
            f" most {MAX_KEYS} different keys and {MAX_RUNS} runs"
        )
    if wrong := [key for key in tried if not COMPARABLE.fullmatch(key)]:
        raise ConfigError(
            f"--over {wrong[0]}: a sweep compares recipes on the same images; expected preset,"
            " seed, or a key of training, model or workers"
        )
    common = load_run(*sources, check=False)
    folder, num_steps = common.uri.rstrip("/"), common.training.steps or DEFAULT_STEPS
    preset, path, overrides, _ = sources
    files = [*(["--preset", preset] if preset else []), *(["--config", str(path)] if path else [])]
    for chosen in itertools.product(*tried.values()):
        values: dict[str, Any] = dict(zip(tried, chosen, strict=True))
        own = [f"training.steps={num_steps}", *(f"{k}={_yaml(v)}" for k, v in values.items())]
        spec = load_run(*sources._replace(overrides=(*overrides, *own)), check=False)
        uri = f"{folder}/{_name(values, spec)}" if folder else ""
        settings = (*overrides, *own, f"uri={_yaml(uri)}")
        spec = load_run(*sources._replace(overrides=settings))
        options = [part for setting in settings for part in ("--set", setting)]
        yield Trial(values, spec, [*files, *options])


def _check(spec: "RunSpec") -> None:
    """Check a run as `train --dry-run` does, and that it has scores."""
    from job.training import preflight

    if preflight.check(spec).spec.quality.features == "none":
        raise ConfigError(
            f"a sweep compares scores, and runs on {spec.data.uri} have none; run `dcgan-train"
            f" quality fit {spec.data.uri}`, or set quality.features"
        )


def _values(argument: str) -> tuple[str, list[Any]]:
    """Return the key and the values of ``KEY=VALUE,VALUE``, each in YAML."""
    from job.config.documents import read_override

    key, has_values, text = argument.partition("=")
    try:
        found = read_override(f"values=[{text}]")["values"] if has_values else []
    except ConfigError:
        found = []
    values = found if isinstance(found, list) else []
    if not values or any(one == other for one, other in itertools.combinations(values, 2)):
        raise ConfigError(
            f"--over {argument}: expected KEY=VALUE,VALUE,... with different values, for example"
            " training.objective.r1_gamma=0.1,1,10"
        )
    return key, values


def _name(values: Mapping[str, Any], spec: "RunSpec") -> str:
    """Return the run folder's name: readable, and another one for other settings but the steps."""
    from job.config.load import to_dict

    settings = to_dict(spec)
    settings["training"].pop("steps")
    decisive = [settings[name] for name in ("data", "model", "training", "seed", "quality")]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _text(values).replace("=", "-")).strip("-.")
    return f"{name[:80]}-{zlib.crc32(json.dumps(decisive).encode()):08x}"


def _yaml(value: Any) -> str:
    """Return a value for ``--set``: JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_yaml(value)}" for key, value in values.items())


def seed_means(runs: Iterable[tuple[Mapping[str, Any], float]]) -> list[tuple[str, ...]]:
    """Return a table with the mean distance of another key's values over the seeds, best first.

    ``runs`` are values and distances, infinite without a score; no lines unless they have a seed
    and another key.
    """
    distances: dict[str, list[float]] = {}
    for values, distance in runs:
        others = {key: value for key, value in values.items() if key != "seed"}
        if not others or len(others) == len(values):
            return []
        distances.setdefault(_text(others), []).append(distance)
    lines = []
    for name, found in sorted(distances.items(), key=lambda item: statistics.fmean(item[1])):
        scored = [distance for distance in found if distance < math.inf]
        mean = f"{statistics.fmean(scored):.2f}" if scored else "none"
        spread = f"{min(scored):.2f} to {max(scored):.2f}" if scored else ""
        lines.append((name, mean, spread, f"{len(scored)} of {len(found)}"))
    return [("mean over seeds", "Frechet distance", "range", "scored"), *lines]


def _row(trial: Trial, failures: Mapping[str, int]) -> _Row:
    """Return the best score of a run that has ended, and its exit code."""
    from job.checkpoints.checkpoints import Checkpoints
    from job.run.summary import read_speed
    from job.storage.uri import open_store

    store = open_store(trial.spec.uri, trial.spec.storage)
    manifests = [manifest for _, manifest in Checkpoints(store).readable()]
    scored = [manifest for manifest in manifests if "frechet_distance" in manifest.metrics]
    names = [json.dumps(value) for value in trial.values.values()]
    failure = f"exit code {code}" if (code := failures.get(trial.spec.uri)) else ""
    if not scored:
        return _Row(trial, math.inf, (*names, "none", *[""] * (len(COLUMNS) - 2), failure))
    best = min(scored, key=lambda manifest: manifest.metrics["frechet_distance"])
    scores, speed = best.metrics, read_speed(store)
    cells = (
        f"{scores['frechet_distance']:.2f}",
        f"{best.step:,}",
        f"{scores['kernel_distance']:.4f}",
        *(f"{scores[name]:.3f}" for name in ("precision", "recall", "coverage")),
        "" if speed is None else f"{speed:,.0f}",
        failure,
    )
    return _Row(trial, scores["frechet_distance"], (*names, *cells))
