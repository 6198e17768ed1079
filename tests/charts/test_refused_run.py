"""The chart rejects the same runs as the program, before anything reaches a cluster."""

import ast
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.config import check, storage
from job.config.errors import ConfigError
from job.config.load import load_run
from job.storage.uri import open_store
from tests.charts.helm import CHART, REQUIRED, Helm, Refused
from tests.storage import uri_cases

pytestmark = pytest.mark.helm

# Values that both refuse, and the key that both name; `workers.` is the chart's own section.
REFUSED = {
    "uris of one place": ("run.uri=s3://bucket/packed/one//", "uri"),
    "limit of a save": ("run.checkpoints.fail_after_seconds=5400", "watchdog.checkpoint_seconds"),
    "limit of a call": (
        "run.data.fetch_patience_seconds=450,run.watchdog.start_seconds=0",
        "watchdog.train_seconds",
    ),
    "limit of a grid": (
        "run.storage.read_timeout_seconds=205,run.watchdog.start_seconds=0",
        "watchdog.train_seconds",
    ),
    "limit of an attempt": ("run.watchdog.start_seconds=765", "watchdog.start_seconds"),
    "limit of an attempt, by the grace": (
        "run.checkpoints.grace_seconds=50,run.watchdog.start_seconds=790",
        "watchdog.start_seconds",
    ),
    "batch": ("workers.count=3", "training.global_batch_size"),
    "batch of some number of workers": (
        "workers.min=1,workers.max=3",
        "training.global_batch_size",
    ),
    "batch of workers with several GPUs": (
        "profile=gpu,workers.gpus=3",
        "training.global_batch_size",
    ),
    "batch of another preset": ("run.preset=dcgan64,workers.count=3", "training.global_batch_size"),
    "batch without a preset": ("run.preset=null,workers.count=5", "training.global_batch_size"),
    "batch smaller than the workers": (
        "run.training.global_batch_size=1",
        "training.global_batch_size",
    ),
    "more workers than Ray's barrier takes": ("workers.count=1001", "count"),  # the schema
    "streams of unequal parts": ("run.data.streams=5", "data.streams"),
    "side of images": ("run.model.image_size=30", "model.image_size"),
    "one side of images": ("run.model.image_size={28,30}", "model.image_size"),
    "many layers": (
        f"run.model.discriminator.filters={{{','.join(['8'] * 17)}}}",
        "model.discriminator.filters has 17 entries",
    ),
    "small images": (
        "run.model.image_size=4,run.model.discriminator.filters={8,8,8}",
        "model.image_size",
    ),
    "channels": ("run.model.channels=2", "model.channels"),
    "kernel": (
        "run.model.generator.upsampling=subpixel,run.model.generator.kernel_size=4",
        "model.generator.kernel_size",
    ),
    "an embedding without classes": (
        "run.model.generator.embedding_size=5",
        "model.generator.embedding_size",
    ),
    "no length": ("run.training.epochs=null", "training.epochs"),
    "normalized discriminator": (
        "run.model.discriminator.normalize=true,run.training.objective.r1_gamma=0",
        "model.discriminator.normalize",
    ),
    "compiled": (
        "run.training.jit_compile=true,run.training.batch_norm=synchronized",
        "training.jit_compile",
    ),
    "endpoint without a scheme": (
        "run.storage.endpoint_url=s3.example.com",
        "storage.endpoint_url",
    ),
    "empty endpoint": ("run.storage.endpoint_url=", "storage.endpoint_url"),
    "endpoint with a password": (
        "run.storage.endpoint_url=http://user:key@s3",
        "storage.endpoint_url",
    ),
    "endpoint without a host": ("run.storage.endpoint_url=https://:9000", "storage.endpoint_url"),
    "endpoint at no port": ("run.storage.endpoint_url=http://s3:0", "storage.endpoint_url"),
    "endpoint at a port out of range": (
        "run.storage.endpoint_url=http://s3:65536",
        "storage.endpoint_url",
    ),
    "a key without KMS": (
        "run.storage.kms_key_id=alias/gan,run.storage.server_side_encryption=AES256",
        "storage.kms_key_id",
    ),
    "a key without encryption": ("run.storage.kms_key_id=alias/gan", "storage.kms_key_id"),
    "text of zero": ("run.training.epochs=0.0", "training.epochs"),
    "text below a minimum": ("run.training.real_label=0.5", "training.real_label"),
    "text above a maximum": ("run.model.discriminator.dropout=0.96", "model.discriminator.dropout"),
    "text of no finite number": ("run.training.epochs=1e999", "training.epochs"),
}
# One less than refused, or other ways to write what is right.
TAKEN = [
    "run.checkpoints.fail_after_seconds=5399",
    "run.data.fetch_patience_seconds=449,run.watchdog.start_seconds=0",
    "run.storage.read_timeout_seconds=204,run.watchdog.start_seconds=0",
    "run.watchdog.start_seconds=766",
    "run.checkpoints.grace_seconds=50,run.watchdog.start_seconds=791",
    "run.checkpoints.grace_seconds=600,termination.drainSeconds=600",
    "run.watchdog.train_seconds=0,run.watchdog.checkpoint_seconds=0,run.watchdog.start_seconds=0",
    "workers.count=4,workers.min=4",
    "workers.count=1000,run.training.global_batch_size=1000,run.data.streams=1000",
    "profile=gpu,workers.gpus=4",
    "run.preset=null",
    "run.model.image_size={28,56}",
    "run.model.conditional=true,run.model.generator.embedding_size=5",
    "run.training.epochs=null,run.training.steps=100",
    "run.training.epochs=.5",
    "run.storage.endpoint_url=HTTPS://[fd00::1]:9000/path",
    "run.storage.endpoint_url=http://s3:65535",
    "run.storage.endpoint_url=http://s3:",
    "run.storage.kms_key_id=alias/gan,run.storage.server_side_encryption=aws:kms:dsse",
    "run.checkpoints.resume=never",
    "run.checkpoints.resume=s3://bucket/runs/zero/checkpoints/step-000000100",
]
# What the chart says; what the program says, and the file and line that said it; by settings.
Messages = dict[str, tuple[str, tuple[str, tuple[str, int]]]]
CHECKS = (check.__file__, storage.__file__)
# Never wrong in a pod: the chart sets port and cache, and checks the order of the workers itself.
OF_THE_CHART = (
    "metrics.port",
    "cache_dir",
    "workers.min_workers",
    "spec.uri != ",
    "spec.data.uri != ",
)


@pytest.fixture(scope="module")
def lenient(chart: Helm, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The chart without its checks, to pass its run.yaml to the program."""
    copied = tmp_path_factory.mktemp("lenient")
    for path in CHART.rglob("*"):
        if path.is_file() and path.name != "values.schema.json":
            target = copied / path.relative_to(CHART)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (copied / "templates" / "rayjob.yaml").unlink()  # which includes the refusals
    return Helm(chart.program, copied)


def run_yaml(lenient: Helm, *settings: str) -> str:
    (config,) = (each for each in lenient.render(*settings) if each["kind"] == "ConfigMap")
    text: str = config["data"]["run.yaml"]
    return text


def message_of_chart(chart: Helm, *settings: str) -> str:
    """Its message; nothing if it takes the values."""
    try:
        chart.run("template", "faces", str(CHART), *settings)
    except Refused as refused:
        return str(refused)
    return ""


def message_of_program(path: Path) -> tuple[str, tuple[str, int]]:
    """Return its message, and the file and line of ``CHECKS`` that raised it; empty if accepted."""
    try:
        spec = load_run(None, path)
        for uri in (spec.uri, spec.data.uri, *({spec.checkpoints.resume} - {"auto", "never"})):
            open_store(uri, spec.storage)
    except ConfigError as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename in CHECKS and frame.name != "_require"
        ]
        return str(error), (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
    return "", ("", 0)


@pytest.fixture(scope="module")
def messages(chart: Helm, lenient: Helm, tmp_path_factory: pytest.TempPathFactory) -> Messages:
    """Return the messages of chart and program, by settings."""
    folder = tmp_path_factory.mktemp("runs")
    every = [settings for settings, _ in REFUSED.values()] + TAKEN

    def both(number: int) -> tuple[str, tuple[str, tuple[str, int]]]:
        path = folder / f"{number}.yaml"
        path.write_text(run_yaml(lenient, *REQUIRED, "--set", every[number]))
        return message_of_chart(chart, *REQUIRED, "--set", every[number]), message_of_program(path)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(every, pool.map(both, range(len(every))), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_the_chart_refuses_what_the_program_refuses(messages: Messages, name: str) -> None:
    settings, key = REFUSED[name]
    chart, (program, _) = messages[settings]
    assert key in program
    assert key in chart or f"/run/{key.replace('.', '/')}" in chart, chart


@pytest.mark.parametrize("settings", TAKEN)
def test_the_chart_takes_what_the_program_takes(messages: Messages, settings: str) -> None:
    assert messages[settings] == ("", ("", ("", 0)))


@pytest.mark.parametrize("file", CHECKS, ids=lambda file: Path(file).stem)
def test_every_check_of_the_program_has_a_case(messages: Messages, file: str) -> None:
    text = Path(file).read_text()
    raised = {line for _, (_, (name, line)) in messages.values() if name == file}
    missed = []
    for node in ast.walk(ast.parse(text)):
        source = ast.get_source_segment(text, node) or ""
        is_check = isinstance(node, ast.Raise) or (
            isinstance(node, ast.Call) and source.startswith("_require(")
        )
        if (
            not is_check
            or "ConfigError(message)" in source
            or any(each in source for each in OF_THE_CHART)
        ):
            continue
        assert isinstance(node, ast.Raise | ast.Call)
        if not raised & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)):
            missed.append(source)
    assert missed == [], (
        "write a case here, and the check into charts/dcgan-train/templates/_refuse_run.tpl"
    )


MOUNTED = (
    *("--set", "extraVolumes[0].name=data,extraVolumes[0].emptyDir.sizeLimit=1Gi"),
    *("--set", "extraVolumeMounts[0].name=data,extraVolumeMounts[0].mountPath=/data"),
)


@pytest.mark.parametrize("key", ["uri", "data.uri", "checkpoints.resume"])
def test_uris(chart: Helm, tmp_path: Path, key: str) -> None:
    """The URIs of the program's tests; a path of a laptop means nothing in a pod."""
    uris = [*uri_cases.REFUSED, *(uri for uri in uri_cases.ACCEPTED if "://" in uri), "/data/mnist"]

    def message(number: int) -> str:
        run: dict[str, Any] = {
            "uri": "s3://bucket/runs/one",
            "data": {"uri": "s3://bucket/packed/one"},
            "checkpoints": {},
        }
        section, _, name = key.rpartition(".")
        (run[section] if section else run)[name] = uris[number]
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump({"run": run}))
        return message_of_chart(chart, *MOUNTED, "--values", str(path))

    with ThreadPoolExecutor(4) as pool:
        messages = dict(zip(uris, pool.map(message, range(len(uris))), strict=True))
    assert [uri for uri in uri_cases.ACCEPTED if "://" in uri and messages[uri]] == []
    assert [uri for uri in (*uri_cases.REFUSED, "/data/mnist") if not messages[uri]] == []
    assert {
        uri: text
        for uri, text in messages.items()
        if text and key.replace(".", "/") not in text and f"run.{key} is" not in text
    } == {}
