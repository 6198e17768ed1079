"""A run as frozen dataclasses: every key of ``run.yaml``, with its default, meaning and limits.

Knows no file format (``load`` reads and checks) and no framework. The nesting is the nesting of the
YAML; a section's docstring and each field's ``doc`` become ``docs/configuration.md``.
"""

from dataclasses import dataclass

from job.config.fields import key, section
from job.config.model import ModelSpec
from job.config.storage import StorageSpec

RESUME_MODES = ("auto", "never")  # anything else is a URI


@dataclass(frozen=True)
class DataSpec:
    """The images, and how they are read."""

    uri: str = key(
        "",
        "Where the packed images are (`dcgan-train data pack`): `s3://bucket/prefix`,"
        " `file:///folder` or a path. Required.",
    )
    cache_dir: str = key(
        "~/.cache/dcgan-train",
        "Local folder for shards fetched from a remote store; workers of one node share it.",
    )
    cache_bytes: int = key(
        20 * 10**9,
        "How much of the disk fetched shards may take, such as `500GB`; the least recently used go"
        " first. Less than the data set is enough.",
        minimum=1,
        unit="bytes",
    )
    fetch_ahead_batches: int = key(
        500,
        "Shards whose first image is that many global batches away are fetched already.",
        minimum=0,
    )
    fetch_patience_seconds: float = key(
        300.0,
        "Seconds without a byte from the store, for all repeated requests, before the run gives"
        " up.",
        above=0,
    )
    horizontal_flip: bool = key(
        False, "Mirror each image with probability one half, drawn again at every step."
    )
    verify: bool = key(
        True,
        "Check the SHA-256 of shards found on the local disk before their first use; fetched ones"
        " are always checked.",
    )


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer; both networks have their own."""

    name: str = key("rmsprop", "Keras optimizer.", choices=("rmsprop", "adam"))
    learning_rate: float = key(0.001, "Step size.", above=0)
    beta_1: float = key(0.9, "Adam's momentum; the paper takes 0.5.", minimum=0, maximum=0.9999)
    beta_2: float = key(0.999, "Adam's second-moment decay.", minimum=0, maximum=0.99999)
    rho: float = key(0.9, "RMSprop's decay.", minimum=0, maximum=0.9999)


@dataclass(frozen=True)
class TrainingSpec:
    """Training of the two networks."""

    global_batch_size: int = key(
        32, "Real images per step over all replicas; divisible by their number.", minimum=1
    )
    epochs: float | None = key(10.0, "Passes over the data; used where `steps` is unset.", above=0)
    steps: int | None = key(None, "Steps in all; wins over `epochs`.", minimum=1)
    min_steps: int = key(
        5000,
        "Minimum number of steps if `epochs` is the preset's: few images need many epochs. Your"
        " own `epochs` or `steps` are used unchanged (0 then),"
        " and a run folder keeps the length it began with.",
        minimum=0,
    )
    updates: str = key(
        "alternating",
        "`alternating`: D, then G on fresh noise; `simultaneous`: both from one forward pass"
        " (cheaper).",
        choices=("alternating", "simultaneous"),
    )
    generator_optimizer: OptimizerSpec = section(OptimizerSpec, "The generator's optimizer.")
    discriminator_optimizer: OptimizerSpec = section(
        OptimizerSpec, "The discriminator's optimizer."
    )
    real_label: float = key(
        1.0,
        "Target of D for real images; 0.9 is one-sided label smoothing (Salimans et al. 2016).",
        above=0.5,
        maximum=1.0,
    )
    ema_decay: float = key(
        0.0,
        "Decay of the averaged generator that samples and `generator.keras` use; 0: the generator"
        " itself.",
        minimum=0,
        maximum=0.99999,
    )
    batch_norm: str = key(
        "local",
        "`local` statistics per replica, averaged at every call, or `synchronized` in each forward"
        " pass.",
        choices=("local", "synchronized"),
    )
    max_rollbacks: int = key(
        2,
        "Times the run goes back to the last checkpoint, with other noise, after a loss that is"
        " not finite.",
        minimum=0,
    )
    steps_per_call: int = key(
        20,
        "Steps inside one TensorFlow call; the run looks up (metrics, signals) in between.",
        minimum=1,
    )
    precision: str = key(
        "float32",
        "`bfloat16` computes in bfloat16 with float32 weights.",
        choices=("float32", "bfloat16"),
    )
    jit_compile: bool = key(
        False, "Compile forward and backward passes with XLA; needs `batch_norm: local`."
    )


@dataclass(frozen=True)
class CheckpointSpec:
    """Checkpoints: how often, how many are kept, and which one an attempt resumes from."""

    every_steps: int = key(
        500, "Steps between checkpoints; the last step always has one.", minimum=1
    )
    keep: int = key(3, "Newest checkpoints kept.", minimum=1)
    keep_every_steps: int | None = key(
        None, "Checkpoints at multiples of this are kept for good.", minimum=1
    )
    keep_best: int = key(0, "Best checkpoints by `best_by` kept beside the newest.", minimum=0)
    best_by: str = key(
        "generator_loss",
        "Which of the manifest's `metrics` says how good a checkpoint is; less is better.",
    )
    when_busy: str = key(
        "wait",
        "While the save before is still under way: `wait` for it, or `skip` this one. One that"
        " fails at the moment is never waited for.",
        choices=("wait", "skip"),
    )
    fail_after_seconds: float = key(
        3600.0,
        "Seconds for which no save succeeds before the run gives up; till then it trains on and"
        " tries again.",
        above=0,
    )
    grace_seconds: float = key(
        25.0,
        "Seconds for a last checkpoint after Ctrl-C, SIGTERM or `ray job stop`; a second signal"
        " ends the run at once.",
        minimum=0,
    )
    lease_seconds: float = key(
        30.0,
        "How long the run folder stays taken after its holder died; a second job on it is refused."
        " 0: no lease, for a store without"
        " conditional writes.",
        minimum=0,
    )
    lease_wait_seconds: float = key(
        0.0,
        "How long a job waits for another one on the run folder to end, before it is refused: as"
        " long as that takes to stop.",
        minimum=0,
    )
    resume: str = key(
        "auto",
        "`auto`: from the newest checkpoint of the run folder; `never`: refuse where there is one;"
        " or the URI of another run folder or"
        " checkpoint to begin from while this one has none.",
    )


@dataclass(frozen=True)
class SampleSpec:
    """Grids of generated images from one fixed latent batch."""

    every_steps: int | None = key(
        None,
        "Steps between grids; unset: once per epoch, at most about 100 times in a run.",
        minimum=1,
    )
    rows: int = key(5, "Rows of the grid.", minimum=1, maximum=32)
    columns: int = key(5, "Columns of the grid.", minimum=1, maximum=32)


@dataclass(frozen=True)
class WorkerSpec:
    """The processes that train together."""

    count: int = key(2, "Worker processes.", minimum=1)
    min: int | None = key(
        None, "Minimum number of workers when nodes are lost; unset: `count`.", minimum=1
    )
    max: int | None = key(
        None, "Maximum number of workers when nodes are added; unset: `count`.", minimum=1
    )
    resize_seconds: float = key(
        60.0, "Seconds between checks for room for more workers.", minimum=1
    )
    gpus: int = key(0, "GPUs per worker; 0 trains on CPU.", minimum=0)
    cpus: float = key(
        1.0, "CPU cores per worker; rounded, also its number of compute threads.", above=0
    )
    max_restarts: int = key(
        3,
        "Times the group is started again after a crash or a lost node before the run gives up.",
        minimum=0,
    )
    start_timeout_seconds: float = key(
        300.0, "Seconds to wait until a joined cluster has room for all workers.", above=0
    )
    heartbeat_timeout_seconds: float = key(
        600.0,
        "Seconds without an answer to its heartbeats before a worker is lost to the others.",
        above=0,
    )

    @property
    def min_workers(self) -> int:
        """Workers that the run needs at least."""
        return self.count if self.min is None else self.min

    @property
    def max_workers(self) -> int:
        """Workers that the run can use."""
        return self.count if self.max is None else self.max


@dataclass(frozen=True)
class MetricsSpec:
    """Metrics for Prometheus."""

    enabled: bool = key(True, "Serve metrics from every worker.")
    port: int | None = key(
        None,
        "Port of the worker with local rank 0; others on the node use the following ports. A port"
        " in use is refused."
        " Unset: 9400 and the next ones, or any free port instead of one in use. 0: any free"
        " ports.",
        minimum=0,
        maximum=65535,
    )
    host: str | None = key(
        None,
        "Address to listen on. Unset: loopback in a Ray cluster that the run starts on this"
        " machine, every address in one that it joins.",
    )
    linger_seconds: float = key(
        30.0,
        "Seconds for which workers serve their last values after the end, where something scrapes"
        " them: two scrape intervals, so that none is lost."
        " After a stop at most what is left of `checkpoints.grace_seconds`.",
        minimum=0,
        maximum=300,
    )


@dataclass(frozen=True)
class HistorySpec:
    """Metrics and logs in the run folder."""

    every_seconds: float = key(
        10.0,
        "Seconds between rows of `metrics.jsonl`, and between writes of rows and log lines; what a"
        " killed worker had since then is lost.",
        minimum=1,
    )


@dataclass(frozen=True)
class WatchdogSpec:
    """A worker in which nothing finishes for too long writes its stacks and ends.

    The group then starts again. 0: no limit.
    """

    start_seconds: float = key(
        900.0,
        "To restore, to build the networks, and for the first call, which compiles; more than"
        " twice `data.fetch_patience_seconds`"
        " and `checkpoints.grace_seconds`.",
        minimum=0,
    )
    checkpoint_seconds: float = key(
        5400.0,
        "For the training thread to wait for a save; more than `checkpoints.fail_after_seconds`.",
        minimum=0,
    )
    train_seconds: float = key(
        450.0,
        "For each further call of `training.steps_per_call` steps, its images included, and for a"
        " grid; more than"
        " `data.fetch_patience_seconds`. A save waits for the save before it for at most 80 % of"
        " what a grid leaves of it, at most 300 s,"
        " and is skipped then.",
        minimum=0,
    )


@dataclass(frozen=True)
class RunSpec:
    """One run: everything in `run.yaml`."""

    uri: str = key(
        "",
        "The run folder, for checkpoints and samples: `s3://bucket/prefix`, `file:///folder` or a"
        " path. Required.",
    )
    preset: str | None = key(None, "Preset that this file overrides.")
    seed: int = key(
        0, "Seed of weights, latents, dropout and image order.", minimum=0, maximum=2**31 - 1
    )
    data: DataSpec = section(DataSpec, "Images.")
    model: ModelSpec = section(ModelSpec, "Networks.")
    training: TrainingSpec = section(TrainingSpec, "Training.")
    checkpoints: CheckpointSpec = section(CheckpointSpec, "Checkpoints.")
    samples: SampleSpec = section(SampleSpec, "Sample grids.")
    workers: WorkerSpec = section(WorkerSpec, "Workers.")
    watchdog: WatchdogSpec = section(WatchdogSpec, "Watchdog.")
    metrics: MetricsSpec = section(MetricsSpec, "Metrics.")
    history: HistorySpec = section(HistorySpec, "History.")
    storage: StorageSpec = section(StorageSpec, "Object store.")

    @property
    def num_replicas(self) -> int:
        """Replicas over all workers: one per GPU, or one per worker on CPU."""
        return self.workers.count * max(1, self.workers.gpus)

    @property
    def replica_batch_size(self) -> int:
        """Real images per replica and step."""
        return self.training.global_batch_size // self.num_replicas
