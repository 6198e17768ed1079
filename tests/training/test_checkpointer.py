"""Checkpoints from the loop: committed in the background, by the latest attempt of the chief."""

from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.uploader import Uploader
from job.checkpoints.writer import Superseded
from job.config.load import load_run
from job.gan.networks import Networks, build_networks
from job.training.checkpointer import Checkpointer, open_checkpointer
from job.training.topology import Topology
from tests.training.alone import Recorder, alone, spec_of
from tests.training.run_folder import Run, context_of

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return build_networks(spec_of(tmp_path_factory.mktemp("unused")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_steps_are_committed_with_their_metrics_and_reason(
    tmp_path: Path, networks: Networks
) -> None:
    driver = Recorder()
    context = alone(spec_of(tmp_path), driver)
    with open_checkpointer(context, networks, 3, committed_step=None) as checkpointer:
        checkpointer.save(4, {"generator_loss": 0.5}, "schedule")
        assert checkpointer.wait_for_save() == 4
        checkpointer.save(4, {"generator_loss": 0.7}, "schedule")  # once is enough
        checkpointer.finish(10, {"generator_loss": 0.2}, "end")
        assert checkpointer.committed_step == 10
    last, first = Checkpoints(context.store).committed()
    assert (first.step, first.reason, first.metrics) == (4, "schedule", {"generator_loss": 0.5})
    assert (last.step, last.reason, last.images_seen, last.noise_stream) == (10, "end", 80, 3)
    assert last.data_fingerprint == context.index.fingerprint
    assert driver.outcomes == [(4, "committed"), (10, "committed")]


def test_of_two_attempts_the_later_one_writes(tmp_path: Path, networks: Networks) -> None:
    """A chief that was cut off comes back after its group was restarted elsewhere."""
    spec = spec_of(tmp_path)
    first, second = (alone(spec, Recorder(), f"20260102T030405Z-00{number}") for number in (0, 1))
    with open_checkpointer(first, networks, 0, None) as early:
        with open_checkpointer(second, networks, 0, None) as late:
            late.save(4, {}, "schedule")
            assert late.wait_for_save() == 4
        early.save(8, {}, "schedule")
        with pytest.raises(Superseded):
            early.wait_for_save()
    assert [manifest.step for manifest in Checkpoints(first.store).committed()] == [4]


def test_a_committed_last_step_is_not_written_again(run: Run) -> None:
    """To write a step again uncommits it first, and an attempt may find nothing left to train."""
    before = {path: path.stat().st_mtime_ns for path in Path(run.uri).rglob("*")}
    with Uploader(run.checkpoints, run.spec.checkpoints) as uploader:
        context = context_of(spec=run.spec, topology=Topology(0, 2), index=run.index)
        checkpointer = Checkpointer(context, None, uploader, noise_stream=0, committed_step=30)
        checkpointer.save(30, {}, "end")
        checkpointer.finish(30, {}, "end")
    assert {path: path.stat().st_mtime_ns for path in Path(run.uri).rglob("*")} == before


def test_only_the_chief_reports_the_committed_step(run: Run) -> None:
    """The loop sums it over the workers, so that of two workers would be twice the step."""
    spec = load_run("notebook", overrides=["uri=a", "data.uri=b"])
    context = context_of(spec=spec, topology=Topology(1, 2))
    with open_checkpointer(context, None, noise_stream=0, committed_step=30) as checkpointer:
        assert checkpointer.committed_step is None
