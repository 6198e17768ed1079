"""Run folders with checkpoints, and generators, for the tests of generated images."""

from pathlib import Path

import keras
import numpy as np

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.load import load_run
from job.config.spec import RunSpec
from job.config.storage import StorageSpec
from job.data.index import ImageClass
from job.gan.networks import build_networks
from job.storage.uri import open_store
from job.synthesis.completion import complete
from job.synthesis.images import image_blocks
from job.synthesis.maker import PartMaker
from job.synthesis.parts import begin
from job.synthesis.request import Request
from job.training import snapshot
from job.training.identity import model_identity, settings_of

CLASSES = (ImageClass("cat", 3), ImageClass("dog", 4), ImageClass("owl", 1))


def spec_of(preset: str, *overrides: str) -> RunSpec:
    small = [
        "uri=a",
        "data.uri=b",
        "model.generator.filters=[8, 4]",
        "model.discriminator.filters=[4, 8]",
    ]
    return load_run(preset, overrides=[*small, *overrides])


def save_run(folder: Path, spec: RunSpec, *steps: int) -> Checkpoints:
    """Checkpoints with other weights in each variable, saved as training saves them."""
    classes = CLASSES if spec.model.conditional else ()
    networks, random = build_networks(spec, len(classes)), np.random.default_rng(3)
    for variable in (*networks.generator.variables, *networks.ema):
        variable.assign(np.abs(random.normal(0, 0.2, variable.shape)).astype(np.float32))
    checkpoints = Checkpoints(open_store(str(folder)))
    parts = snapshot.to_parts(snapshot.take(networks, 10), snapshot.Exporter(spec, classes))
    for step in steps:
        facts = Manifest(
            step,
            step * 64,
            "now",
            model_identity(spec),
            "f" * 64,
            {},
            1,
            {},
            {},
            (),
            settings_of(spec),
            classes=classes,
        )
        checkpoints.save(facts, parts)
    return checkpoints


def whole(generator: keras.Model, seed: int, num_images: int, start: int = 0) -> np.ndarray:
    """Return the images ``start ... start + num_images - 1`` as one array."""
    return np.concatenate(list(image_blocks(generator, seed, num_images, start)))


def make_set(run_folder: Path, out: Path, form: str, storage: StorageSpec) -> None:
    """Make a complete set of 300 images in three parts."""
    with_parts = Request(str(run_folder), str(out), form, 300, part_images=128, storage=storage)
    maker, store = PartMaker(str(run_folder), storage), with_parts.open()
    plan = maker.plan(with_parts)
    maker.make(plan, str(out), begin(store, plan))
    complete(store, plan)
