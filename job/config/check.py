"""Checks across fields: what no single field can know is wrong, found before any process starts."""

import math

from job.config.check_training import check_training
from job.config.errors import ConfigError
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.waits import grid_seconds, start_wait_seconds

MAX_LAYERS = 16  # of a network
# Ray Train (2.60) makes its barrier, which workers pass after each call, of an actor with Ray's
# default of 1,000 calls at once: with more workers none would return.
MAX_WORKERS = 1000


def check_run(spec: RunSpec) -> None:
    """Raise ``ConfigError`` for the first combination that cannot train."""
    _require(
        spec.uri != "",
        "uri is not set; expected the run folder, for example --set uri=./runs/first or"
        " s3://bucket/runs/first",
    )
    _require(
        spec.data.uri != "",
        "data.uri is not set; expected packed images: dcgan-train data pack SOURCE DEST, then"
        " --set data.uri=DEST",
    )
    _require(
        spec.uri.rstrip("/") != spec.data.uri.rstrip("/"),
        f"uri and data.uri are both {spec.uri}; expected a run folder apart from the images",
    )
    last_port = (spec.metrics.port or 0) + spec.workers.max_workers - 1
    _require(
        last_port <= 65535,
        f"metrics.port is {spec.metrics.port} for {spec.workers.max_workers} workers, the last at"
        f" {last_port}; expected at most"
        f" {65536 - spec.workers.max_workers}, or 0 for any free ports",
    )
    _require(
        "://" not in spec.data.cache_dir,
        f"data.cache_dir is {spec.data.cache_dir}; expected a folder on the local disk of each"
        " worker, as a path",
    )
    _require(
        not 0 < spec.watchdog.checkpoint_seconds <= spec.checkpoints.fail_after_seconds,
        f"watchdog.checkpoint_seconds is {spec.watchdog.checkpoint_seconds:g} and"
        " checkpoints.fail_after_seconds is"
        f" {spec.checkpoints.fail_after_seconds:g}; expected more than that, or 0 for no limit:"
        " waiting for the store is not a hang",
    )
    _require(
        not 0 < spec.watchdog.train_seconds <= spec.data.fetch_patience_seconds,
        f"watchdog.train_seconds is {spec.watchdog.train_seconds:g} and"
        f" data.fetch_patience_seconds is {spec.data.fetch_patience_seconds:g};"
        " expected more than the patience, or 0 for no limit: waiting for images is not a hang",
    )
    _check_waits(spec)
    _check_batch(spec)
    check_model(spec.model)
    size = spec.model.generator.embedding_size
    _require(
        size is None or spec.model.conditional,
        f"model.generator.embedding_size is {size} without model.conditional, and changes nothing;"
        " expected both or neither",
    )
    check_training(spec.training, spec.model)
    training = spec.training
    _require(
        training.epochs is not None or training.steps is not None,
        "training.epochs and training.steps are both unset; expected one of them",
    )
    _require(
        not (training.updates == "simultaneous" and spec.model.discriminator.normalize),
        "training.updates is simultaneous and model.discriminator.normalize is true; expected"
        " alternating updates with batch normalization in D,"
        " whose statistics mix real and fake images otherwise",
    )
    _require(
        not (training.jit_compile and training.batch_norm == "synchronized"),
        "training.jit_compile is true and training.batch_norm is synchronized; expected"
        " batch_norm: local,"
        " because collective operations do not go into an XLA program",
    )


def _check_waits(spec: RunSpec) -> None:
    """Raise ``ConfigError`` if the chief may wait for the store longer than the watchdog allows."""
    grid, start = grid_seconds(spec), start_wait_seconds(spec)
    storage = spec.storage
    seconds = f"{storage.connect_timeout_seconds:g} + {storage.read_timeout_seconds:g} s"
    timeouts = f"storage timeouts of {seconds}, twice"
    is_on_s3 = spec.uri.startswith("s3://")
    _require(
        not is_on_s3 or not 0 < spec.watchdog.train_seconds <= grid,
        f"watchdog.train_seconds is {spec.watchdog.train_seconds:g}; expected more than {grid:g},"
        " because a grid may wait that long for the"
        f" store ({timeouts}, and retries). Raise it, lower storage.read_timeout_seconds, or set 0"
        " for no limit",
    )
    _require(
        not 0 < spec.watchdog.start_seconds <= start,
        f"watchdog.start_seconds is {spec.watchdog.start_seconds:g}; expected more than {start:g},"
        " because the chief may wait that long for"
        f" the store: data.fetch_patience_seconds ({spec.data.fetch_patience_seconds:g}) twice,"
        " checkpoints.grace_seconds"
        f" ({spec.checkpoints.grace_seconds:g}){f' and {timeouts}' if is_on_s3 else ''}. Raise it,"
        " or set 0 for no limit",
    )


def _check_batch(spec: RunSpec) -> None:
    batch, gpus, workers = spec.training.global_batch_size, max(1, spec.workers.gpus), spec.workers
    _require(
        workers.min_workers <= workers.count <= workers.max_workers,
        f"workers.min is {workers.min_workers}, workers.count {workers.count}, workers.max"
        f" {workers.max_workers}; expected them in this order",
    )
    _require(
        workers.max_workers <= MAX_WORKERS,
        f"workers.{'count' if workers.max is None else 'max'} is {workers.max_workers}; expected at"
        f" most {MAX_WORKERS}, because more cannot pass Ray Train's barrier: start one worker for"
        " all GPUs of a machine (workers.gpus)",
    )
    _require(
        batch % (spec.data.streams or 1) == 0,
        f"data.streams is {spec.data.streams}; expected a divisor of training.global_batch_size,"
        f" which is {batch}",
    )
    wanted = math.lcm(
        *(number * gpus for number in range(workers.min_workers, workers.max_workers + 1))
    )
    if batch % wanted == 0:
        return
    below, above = batch // wanted * wanted, -(-batch // wanted) * wanted
    examples = " or ".join(str(size) for size in (below, above) if size > 0)
    whose = (
        ""
        if workers.min_workers == workers.max_workers
        else f" of any number of workers from {workers.min_workers} to {workers.max_workers}"
    )
    wanted_text = f"the {wanted} replicas" if not whose else f"{wanted}, for the replicas"
    raise ConfigError(
        f"training.global_batch_size is {batch}; expected a multiple of {wanted_text}{whose} (for"
        f" example {examples})"
    )


def check_model(model: ModelSpec) -> None:
    """Raise ``ConfigError`` for the first combination that is not a model."""
    for network, filters in (
        ("generator", model.generator.filters),
        ("discriminator", model.discriminator.filters),
    ):
        _require(
            len(filters) <= MAX_LAYERS,
            f"model.{network}.filters has {len(filters)} entries; expected at most {MAX_LAYERS},"
            " each of which is a factor of 2 in image size",
        )
    doublings = len(model.generator.filters)
    for side, name in zip(model.image_size, ("height", "width"), strict=True):
        _require(
            side % 2**doublings == 0,
            f"model.image_size has {name} {side}; expected a multiple of {2**doublings}, because"
            f" the {doublings} entries of"
            f" model.generator.filters double the size {doublings} times",
        )
        _require(
            side >= 2 ** len(model.discriminator.filters),
            f"model.image_size has {name} {side}; expected at least"
            f" {2 ** len(model.discriminator.filters)},"
            f" because each of the {len(model.discriminator.filters)} entries of"
            " model.discriminator.filters halves it",
        )
    _require(model.channels != 2, "model.channels is 2; expected 1 for grey or 3 for RGB")
    kernel = model.generator.kernel_size
    _require(
        model.generator.upsampling != "subpixel" or kernel % 2 == 1,
        f"model.generator.kernel_size is {kernel} with upsampling: subpixel; expected an odd"
        " number",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
