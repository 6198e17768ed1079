"""Scores in the loop: those of the generator that is saved, kept and compared over a resume."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.checkpoints.checkpoints import Checkpoints
from job.data.index import ImageClass
from job.data.rows import read_rows
from job.gan.latents import fixed_latents
from job.gan.networks import build_networks
from job.gan.step import encode
from job.quality.classifier import scale
from job.quality.frechet import frechet_distance, moments
from job.quality.kernel import kernel_distance
from job.quality.neighbours import neighbourhood
from job.report.incidents import WORSE_IMAGES, read_incidents
from job.report.metric_history import read_metrics
from job.run.layout import DIVERGENCES
from job.training import scoring, snapshot
from job.training.checkpointer import open_checkpointer
from job.training.context import RunContext
from job.training.divergence import Diverged, WorseImages
from job.training.input import Input
from job.training.listeners import Requests
from job.training.loop import Loop
from job.training.multi_step import build_train_call
from job.training.open_reader import open_reader
from job.training.rollback import roll_back
from job.training.scoring import Scorer, open_scorer
from job.training.topology import Topology
from tests.training.alone import NUM_IMAGES, Recorder, alone, spec_of

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small Keras model from images to features."""
    images = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(images)
    x = keras.layers.Dense(6, "tanh", kernel_initializer=keras.initializers.GlorotNormal(seed=4))(x)
    path = tmp_path_factory.mktemp("features") / "features.keras"
    keras.Model(images, x).save(path)
    return path


@pytest.fixture
def context(tmp_path: Path, features: Path) -> Callable[..., RunContext]:
    def make(**settings: object) -> RunContext:
        return alone(spec_of(tmp_path, quality__features=f"file:{features}", **settings), driver)

    driver = Recorder()
    make.driver = driver
    return make


def train(context: RunContext) -> bool:
    """Train in this process, and resume from the newest checkpoint."""
    networks = build_networks(context.spec)
    found = Checkpoints(context.store).restore()
    resumed = found[0] if found else None
    if found:
        snapshot.put(networks, found[1], context.spec)
    start = resumed.step if resumed else 0
    scorer = open_scorer(context, resumed)
    basis = scorer.basis if scorer else None
    call = build_train_call(context.spec, tf.distribute.get_strategy(), networks)
    with (
        open_checkpointer(context, networks, 0, start or None, basis) as checkpointer,
        open_reader(context, start) as reader,
    ):
        loop = Loop(context, networks, call, checkpointer, resumed, lambda: None, scorer)
        return loop.run(
            Input(context.spec, context.topology, reader, context.order, context.schedule, start)
        )


def scored(context: RunContext) -> dict[int, dict[str, float]]:
    """Return the scores and the best of each checkpoint."""
    return {
        manifest.step: {
            name: value for name, value in manifest.metrics.items() if "frechet" in name
        }
        for manifest in Checkpoints(context.store).committed()
    }


def test_the_scores_of_a_checkpoint_are_those_of_its_generator(
    context: Callable[..., RunContext], features: Path, tmp_path: Path
) -> None:
    made = context(quality__every_steps=5, checkpoints__every_steps=5)
    assert train(made)
    manifest, parts = Checkpoints(made.store).restore()
    path = tmp_path / "generator.keras"
    path.write_bytes(parts["generator.keras"])
    generator, extractor = keras.models.load_model(path), keras.models.load_model(features)
    latents = fixed_latents(made.spec.seed, NUM_IMAGES, 4)
    images = encode(generator(latents)).numpy()
    real = read_rows(made.data_store, made.index, np.arange(NUM_IMAGES)).images
    x, y = (extractor(scale(each)).numpy() for each in (real, images))
    kernel, near = kernel_distance(x, y), neighbourhood(x, y)
    wanted = {
        "frechet_distance": frechet_distance(moments(x), moments(y)),
        "kernel_distance": kernel.mean,
        "kernel_error": kernel.standard_error,
        **near._asdict(),
    }
    found = {name: manifest.metrics[name] for name in wanted}
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    assert manifest.scored_by["features"] == "file"
    assert manifest.scored_by["num_real"] == str(NUM_IMAGES)
    assert "score" in context.driver.phases


def test_scores_do_not_change_the_weights(
    context: Callable[..., RunContext], tmp_path: Path
) -> None:
    made = context(uri=tmp_path / "scored", quality__every_steps=4)
    assert train(made)
    plain = alone(spec_of(tmp_path, uri=tmp_path / "plain"), Recorder())
    assert train(plain)
    ours, others = (Checkpoints(each.store).restore() for each in (made, plain))
    assert others[0].scored_by == {}
    assert {name: part for name, part in ours[1].items() if name.endswith(".npz")} == {
        name: part for name, part in others[1].items() if name.endswith(".npz")
    }


def test_only_the_manifest_of_a_scored_step_has_scores_and_each_names_the_best(
    context: Callable[..., RunContext],
) -> None:
    made = context(quality__every_steps=8, checkpoints__every_steps=4, checkpoints__keep=9)
    assert train(made)
    found = scored(made)
    assert sorted(found) == [4, 8, 10]
    assert found[4] == {}
    assert found[8]["best_frechet_distance"] == found[8]["frechet_distance"]
    best = min(found[8]["frechet_distance"], found[10]["frechet_distance"])
    assert found[10]["best_frechet_distance"] == best


def test_the_best_is_that_of_a_step_with_a_checkpoint(
    context: Callable[..., RunContext],
) -> None:
    made = context(quality__every_steps=2, checkpoints__every_steps=6, checkpoints__keep=9)
    assert train(made)
    found = scored(made)
    best = min(found, key=lambda step: found[step]["frechet_distance"])
    (newest, *_) = Checkpoints(made.store).committed()
    assert newest.metrics["best_step"] == best
    assert set(found) == {6, 10}


def test_a_resumed_run_has_the_scores_of_an_uninterrupted_one(
    context: Callable[..., RunContext], tmp_path: Path
) -> None:
    settings = {"quality__every_steps": 4, "checkpoints__keep": 9}
    whole = context(uri=tmp_path / "whole", **settings)
    assert train(whole)
    context.driver._requests = {6: Requests(stop=True)}
    parted = context(uri=tmp_path / "parted", **settings)
    assert not train(parted)
    context.driver._requests = {}
    assert train(parted)
    wanted = scored(whole)
    assert {step: scores for step, scores in scored(parted).items() if step in wanted} == wanted


def test_a_run_ends_early_at_the_same_step_everywhere(context: Callable[..., RunContext]) -> None:
    made = context(quality__every_steps=4, quality__stop_after_steps=1)
    assert train(made)
    (newest, *_) = Checkpoints(made.store).committed()
    assert (newest.step, newest.reason) == (6, "end")  # the best was step 4


def test_a_run_rolls_back_when_its_images_became_worse(
    context: Callable[..., RunContext], tmp_path: Path
) -> None:
    settings = {"quality__every_steps": 2, "checkpoints__every_steps": 2, "checkpoints__keep": 9}
    plain = context(uri=tmp_path / "plain", **settings)
    assert train(plain)
    found = {step: each["frechet_distance"] for step, each in scored(plain).items()}
    steps = sorted(found)
    worse = next(step for step in steps if found[step] > min(found[s] for s in steps if s <= step))
    made = context(quality__rollback_ratio=1.000001, **settings)
    with pytest.raises(Diverged) as raised:
        train(made)
    assert raised.value.divergence.step == worse
    assert raised.value.checkpoint_step == worse - 2
    best = min((step for step in steps if step < worse), key=lambda step: found[step])
    roll_back(made, raised.value)
    (entry,) = made.store.list(DIVERGENCES)
    record = json.loads(made.store.read(entry.key))
    assert record["frechet_distance"] == found[worse] > record["best_frechet_distance"]
    assert (record["step"], record["last_good_checkpoint"]) == (worse, best)
    assert Checkpoints(made.store).restore()[0].step == best
    quarantined = [step for step in steps if best < step < worse]
    incidents = read_incidents(made.store, [], read_metrics(made.store))
    kinds = [(incident.kind, incident.step) for incident in incidents]
    assert (WORSE_IMAGES, worse) in kinds
    assert sorted(step for kind, step in kinds if kind != WORSE_IMAGES) == quarantined


def test_checkpoints_after_the_best_are_not_used_again(
    context: Callable[..., RunContext],
) -> None:
    """Saved between two scores, or with a score that was not yet bad enough."""
    settings = {"quality__every_steps": 4, "checkpoints__every_steps": 2, "checkpoints__keep": 9}
    made = context(**settings)
    assert train(made)
    scores = {"best_frechet_distance": 1.0, "best_step": 4.0, "frechet_distance": 9.0}
    roll_back(made, Diverged(WorseImages(10, 2.0, scores), 10))
    checkpoints = Checkpoints(made.store)
    assert checkpoints.restore()[0].step == 4
    assert [folder.step for folder in checkpoints.folders() if folder.is_quarantined] == [10, 8, 6]
    assert train(made)
    assert [manifest.step for manifest in checkpoints.committed()] == [10, 8, 6, 4, 2]


def test_only_the_chief_knows_the_best_and_ends_the_run(context: Callable[..., RunContext]) -> None:
    """Other workers do not learn of better scores, so an old best of theirs would end the run."""
    made = context(quality__every_steps=4, quality__stop_after_steps=2)
    assert train(made)
    (newest, *_) = Checkpoints(made.store).committed()
    assert newest.metrics["best_step"]
    late = int(newest.metrics["best_step"]) + 2
    other = dataclasses.replace(made, topology=Topology(1, 2))
    assert Scorer(made, newest).is_over(late)
    assert not Scorer(other, newest).is_over(late)


def test_the_best_of_other_features_is_forgotten(context: Callable[..., RunContext]) -> None:
    made = context(quality__every_steps=4)
    assert train(made)
    (newest, *_) = Checkpoints(made.store).committed()
    assert Scorer(made, newest).metrics(0).keys() == {"best_frechet_distance", "best_step"}
    fewer = context(quality__num_images=30)
    assert Scorer(fewer, newest).metrics(0) == {}


def test_features_of_real_images_are_computed_once(
    context: Callable[..., RunContext], tmp_path: Path
) -> None:
    made = context()
    first = Scorer(made, None)._real
    (kept,) = (tmp_path / "set" / "quality").iterdir()
    with np.load(kept) as arrays:
        assert np.array_equal(arrays["features"], first)
    changed = first + 1
    np.savez(kept, features=changed)
    assert np.array_equal(Scorer(made, None)._real, changed)
    kept.write_bytes(b"damaged")
    assert np.array_equal(Scorer(made, None)._real, first)
    assert len(kept.read_bytes()) > first.nbytes


def test_a_conditional_generator_makes_the_classes_of_the_data() -> None:
    classes = (ImageClass("cat", 30), ImageClass("dog", 10))
    assert scoring._labels(classes, 8).tolist() == [0] * 6 + [1] * 2
    assert scoring._labels((), 8) is None


def test_workers_share_the_images_also_if_there_are_more_workers_than_images(
    context: Callable[..., RunContext],
) -> None:
    made = context(quality__num_images=20)
    generator = snapshot.Exporter(made.spec).load(snapshot.shown_weights(build_networks(made.spec)))
    whole = Scorer(made, None)._own_features(generator)
    for world_size in (3, 25):
        parts = [
            Scorer(
                dataclasses.replace(made, topology=Topology(rank, world_size)), None
            )._own_features(generator)
            for rank in range(world_size)
        ]
        assert np.allclose(sum(parts), whole, atol=1e-6)
        assert sum((part != 0).any(axis=1).sum() for part in parts) == 20


def test_without_features_there_are_no_scores(tmp_path: Path) -> None:
    for features in ("none", "auto"):
        spec = spec_of(tmp_path, quality__features=features)
        assert open_scorer(alone(spec, Recorder()), None) is None
