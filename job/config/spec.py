"""A run as frozen pydantic models: every key of ``run.yaml``, its default, meaning and limits.

Knows no file format (``load`` reads files) and no framework. The nesting is the nesting of the
YAML. ``docs/configuration.md`` and the schemas of ``run.yaml`` and the chart are written from it.
"""

from typing import Annotated, Literal

from pydantic import Field

from job.config.fields import (
    FROM_TEXT,
    NonNegative,
    NonNegativeNumber,
    NumBytes,
    Positive,
    PositiveNumber,
    Section,
)
from job.config.model import ModelSpec
from job.config.objective import AugmentSpec, ObjectiveSpec, ScheduleSpec
from job.config.storage import StorageSpec
from job.config.tracking import TrackingSpec
from job.config.validation import Expected

RESUME_MODES = ("auto", "never")  # anything else is a URI


class DataSpec(Section):
    """The images, and how they are read."""

    uri: str = ""
    """Where the packed images are (`dcgan-train data pack`): `s3://bucket/prefix`, `file:///folder`
    or a path. Required."""
    cache_dir: str = "~/.cache/dcgan-train"
    """Local folder for shards fetched from a remote store; workers of one node share it."""
    cache_bytes: NumBytes = 20 * 10**9
    """How much of the disk fetched shards may take, such as `500GB`; the least recently used go
    first. Less than the data set is enough."""
    fetch_ahead_batches: NonNegative = 500
    """Shards whose first image is that many global batches away are fetched already."""
    fetch_patience_seconds: PositiveNumber = 300.0
    """Seconds without a byte from the store, for all repeated requests, before the run gives up."""
    horizontal_flip: bool = False
    """Mirror each image with probability one half, drawn again at every step."""
    streams: Positive | None = None
    """Parts of each global batch that come from separate shards, a divisor of its size; unset: at
    most 48. With more workers, which would download the same shards, set their number. A run
    folder keeps it."""
    verify: bool = True
    """Check the SHA-256 of shards found on the local disk before their first use; fetched ones are
    always checked."""


class OptimizerSpec(Section):
    """One optimizer; both networks have their own."""

    name: Literal["rmsprop", "adam"] = "rmsprop"
    """Keras optimizer."""
    learning_rate: PositiveNumber = 0.001
    """Step size."""
    beta_1: Annotated[float, Field(ge=0, le=0.9999), FROM_TEXT] = 0.9
    """Adam's momentum; the paper takes 0.5."""
    beta_2: Annotated[float, Field(ge=0, le=0.99999), FROM_TEXT] = 0.999
    """Adam's second-moment decay."""
    rho: Annotated[float, Field(ge=0, le=0.9999), FROM_TEXT] = 0.9
    """RMSprop's decay."""


class TrainingSpec(Section):
    """Training of the two networks."""

    global_batch_size: Positive = 32
    """Real images per step over all replicas; divisible by their number."""
    epochs: PositiveNumber | None = 10.0
    """Passes over the data; used where `steps` is unset."""
    steps: Positive | None = None
    """Steps in all; wins over `epochs`."""
    min_steps: NonNegative = 5000
    """Minimum number of steps if `epochs` is the preset's: few images need many epochs. Your own
    `epochs` or `steps` are used unchanged (0 then), and a run folder keeps the length it began
    with."""
    updates: Literal["alternating", "simultaneous"] = "alternating"
    """`alternating`: D, then G on fresh noise; `simultaneous`: both from one forward pass
    (cheaper)."""
    generator_optimizer: OptimizerSpec = OptimizerSpec()
    discriminator_optimizer: OptimizerSpec = OptimizerSpec()
    real_label: Annotated[float, Field(gt=0.5, le=1.0), FROM_TEXT] = 1.0
    """Target of D for real images; 0.9 is one-sided label smoothing (Salimans et al. 2016)."""
    ema_decay: Annotated[float, Field(ge=0, le=0.99999), FROM_TEXT] = 0.0
    """Decay of the averaged generator that samples and `generator.keras` use; 0: the generator
    itself."""
    ema_half_life_images: PositiveNumber | None = None
    """Half-life of the averaged generator in images, used instead of `ema_decay`; unset:
    `ema_decay`."""
    ema_warmup: NonNegativeNumber = 0.05
    """The half-life is at most this share of the images seen so far (StyleGAN2); 0: no warm-up."""
    objective: ObjectiveSpec = ObjectiveSpec()
    augment: AugmentSpec = AugmentSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    batch_norm: Literal["local", "synchronized"] = "local"
    """`local` statistics per replica, averaged at every call, or `synchronized` in each forward
    pass."""
    max_rollbacks: NonNegative = 2
    """Times the run rolls back to the last checkpoint, with other noise, after a loss that is not
    finite or by `quality.rollback_ratio`."""
    steps_per_call: Positive = 20
    """Steps inside one TensorFlow call; the run looks up (metrics, signals) in between."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes in bfloat16 with float32 weights."""
    jit_compile: bool = False
    """Compile forward and backward passes with XLA; needs `batch_norm: local`."""

    @property
    def is_averaged(self) -> bool:
        """True if samples come from an averaged generator."""
        return self.ema_decay > 0 or self.ema_half_life_images is not None


class CheckpointSpec(Section):
    """Checkpoints: how often, how many are kept, and which one an attempt resumes from."""

    every_steps: Positive = 500
    """Steps between checkpoints; the last step always has one."""
    keep: Positive = 3
    """Newest checkpoints kept."""
    keep_every_steps: Positive | None = None
    """Checkpoints at multiples of this are kept for good."""
    keep_best: NonNegative = 0
    """Best checkpoints by `best_by` kept beside the newest."""
    best_by: str = "generator_loss"
    """Which of the manifest's `metrics` says how good a checkpoint is; less is better."""
    when_busy: Literal["wait", "skip"] = "wait"
    """While the save before is still under way: `wait` for it, or `skip` this one. One that fails
    at the moment is never waited for."""
    fail_after_seconds: PositiveNumber = 3600.0
    """Seconds for which no save succeeds before the run gives up; till then it trains on and tries
    again."""
    grace_seconds: NonNegativeNumber = 25.0
    """Seconds for a last checkpoint after Ctrl-C, SIGTERM or `ray job stop`; a second signal ends
    the run at once."""
    lease_seconds: NonNegativeNumber = 30.0
    """How long the run folder stays taken after its holder died; a second job on it is refused. 0:
    no lease, for a store without conditional writes."""
    lease_wait_seconds: NonNegativeNumber = 0.0
    """How long a job waits for another one on the run folder to end, before it is refused: as long
    as that takes to stop."""
    resume: str = "auto"
    """`auto`: from the newest checkpoint of the run folder; `never`: refuse where there is one; or
    the URI of another run folder or checkpoint to begin from while this one has none."""


class SampleSpec(Section):
    """Grids of generated images from one fixed latent batch."""

    every_steps: Positive | None = None
    """Steps between grids; unset: once per epoch, at most about 100 times in a run."""
    rows: Annotated[int, Field(ge=1, le=32)] = 5
    """Rows of the grid; with `model.conditional` it has one for each class instead, at most 32."""
    columns: Annotated[int, Field(ge=1, le=32)] = 5
    """Columns of the grid."""


FeaturesName = Annotated[
    str,
    Field(pattern=r"^(auto|none|(classifier|inception)(:.+)?|file:.+)$"),
    Expected("auto, none, classifier, classifier:DATA, inception, inception:URI or file:URI"),
]


class QualitySpec(Section):
    """Scores of the generated images while the run trains."""

    features: FeaturesName = "auto"
    """What the scores compare. `auto`: the classifier that `dcgan-train quality fit` trained on the
    data, and no scores if there is none; `none`: no scores; or as `evaluate --features`."""
    every_steps: Positive | None = None
    """Steps between scores; unset: at every checkpoint, but at least 16 times `num_images` trained
    images apart. The last step always has one."""
    num_images: Annotated[int, Field(ge=20, le=100_000)] = 2000
    """Generated images, and as many real ones, that are compared."""
    stop_after_steps: Positive | None = None
    """End the run if the best score is that many steps old; unset: train to the last step."""
    rollback_ratio: Annotated[float, Field(gt=1), FROM_TEXT] | None = None
    """Roll back to the checkpoint with the best score, with other noise, if the Frechet distance is
    over that many times as large: after a collapse. At most `training.max_rollbacks` times, then
    the run ends. Unset: never."""


class WorkerSpec(Section):
    """The processes that train together."""

    count: Positive = 2
    """Worker processes."""
    min: Positive | None = None
    """Minimum number of workers when nodes are lost; unset: `count`."""
    max: Positive | None = None
    """Maximum number of workers when nodes are added; unset: `count`."""
    resize_seconds: Annotated[float, Field(ge=1), FROM_TEXT] = 60.0
    """Seconds between checks for room for more workers."""
    gpus: NonNegative = 0
    """GPUs per worker; 0 trains on CPU."""
    cpus: PositiveNumber = 1.0
    """CPU cores per worker; rounded, also its number of compute threads."""
    max_restarts: NonNegative = 3
    """Times the group is started again after a crash or a lost node before the run gives up."""
    start_timeout_seconds: PositiveNumber = 300.0
    """Seconds to wait until a joined cluster has room for all workers."""
    heartbeat_timeout_seconds: PositiveNumber = 600.0
    """Seconds without an answer to its heartbeats before a worker is lost to the others."""

    @property
    def min_workers(self) -> int:
        """Workers that the run needs at least."""
        return self.count if self.min is None else self.min

    @property
    def max_workers(self) -> int:
        """Workers that the run can use."""
        return self.count if self.max is None else self.max


class MetricsSpec(Section):
    """Metrics for Prometheus."""

    enabled: bool = True
    """Serve metrics from every worker."""
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of the worker with local rank 0; others on the node use the following ports. A port in
    use is refused. Unset: 9400 and the next ones, or any free port instead of one in use. 0: any
    free ports."""
    host: str | None = None
    """Address to listen on. Unset: loopback in a Ray cluster that the run starts on this machine,
    every address in one that it joins."""
    linger_seconds: Annotated[float, Field(ge=0, le=300), FROM_TEXT] = 30.0
    """Seconds for which workers serve their last values after the end, where something scrapes
    them: two scrape intervals, so that none is lost. After a stop at most what is left of
    `checkpoints.grace_seconds`."""


class HistorySpec(Section):
    """Metrics and logs in the run folder."""

    every_seconds: Annotated[float, Field(ge=1), FROM_TEXT] = 10.0
    """Seconds between rows of `metrics.jsonl`, and between writes of rows and log lines; what a
    killed worker had since then is lost."""


class WatchdogSpec(Section):
    """A worker in which nothing finishes for too long writes its stacks and ends.

    The group then starts again. 0: no limit.
    """

    start_seconds: NonNegativeNumber = 900.0
    """To restore, to build the networks, and for the first call, which compiles; more than twice
    `data.fetch_patience_seconds` and `checkpoints.grace_seconds`."""
    checkpoint_seconds: NonNegativeNumber = 5400.0
    """For the training thread to wait for a save; more than `checkpoints.fail_after_seconds`."""
    train_seconds: NonNegativeNumber = 450.0
    """For each further call of `training.steps_per_call` steps, its images included, for a grid and
    for a score; more than `data.fetch_patience_seconds`. A save waits for the save before it for at
    most 80 % of what a grid leaves of it, at most 300 s, and is skipped then."""


class RunSpec(Section):
    """One run: everything in `run.yaml`."""

    uri: str = ""
    """The run folder, for checkpoints and samples: `s3://bucket/prefix`, `file:///folder` or a
    path. Required."""
    preset: str | None = None
    """Preset that this file overrides."""
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    """Seed of weights, latents, dropout and image order."""
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    checkpoints: CheckpointSpec = CheckpointSpec()
    samples: SampleSpec = SampleSpec()
    quality: QualitySpec = QualitySpec()
    workers: WorkerSpec = WorkerSpec()
    watchdog: WatchdogSpec = WatchdogSpec()
    metrics: MetricsSpec = MetricsSpec()
    history: HistorySpec = HistorySpec()
    tracking: TrackingSpec = TrackingSpec()
    storage: StorageSpec = StorageSpec()

    @property
    def num_replicas(self) -> int:
        """Replicas over all workers: one per GPU, or one per worker on CPU."""
        return self.workers.count * max(1, self.workers.gpus)

    @property
    def replica_batch_size(self) -> int:
        """Real images per replica and step."""
        return self.training.global_batch_size // self.num_replicas
