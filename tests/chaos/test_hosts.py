"""A run on several hosts continues when one is lost, cut off or drained.

CHAOS_HOSTS=all has every fault of ``hosts``: a quarter of an hour.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.hosts import DRAIN_SECONDS, FAULTS, Outcome, play, play_without
from tests.chaos.kills import differences
from tests.chaos.ray_hosts import RayHosts, ray_hosts
from tests.launch.fixtures import CHECKPOINT_EVERY, STEPS, Finished
from tests.launch.program import SMALL

WHICH = os.environ.get("CHAOS_HOSTS")
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.s3,
    pytest.mark.cluster,
    pytest.mark.training,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        WHICH is None,
        reason="several hosts take minutes: `make chaos`, or CHAOS_HOSTS=quick or all",
    ),
]
QUICK = (
    "cut a worker's link for 5 s",
    "drain a worker's host",
    "kill all on a worker's host, elastic",
)
CHOSEN = [fault for fault in FAULTS if WHICH == "all" or fault.name.startswith(QUICK)]
STEPS_EACH = STEPS // 3
STEPS_PER_CALL = 20


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHosts]:
    with ray_hosts(tmp_path_factory.mktemp("hosts"), drain_seconds=DRAIN_SECONDS) as started:
        started.start()
        yield started


def test_faults_change_no_bit(hosts: RayHosts, undisturbed: Finished, tmp_path: Path) -> None:
    faults = [fault for fault in CHOSEN if not fault.is_elastic]
    steps = STEPS_EACH * (len(faults) + 1)
    outcome = play(hosts, faults, undisturbed.data, tmp_path / "run", steps)
    ended_and_skipped_nothing(outcome, steps)
    assert sizes(outcome) == [2]
    plain = (
        undisturbed.folder if steps == STEPS else play_without(undisturbed.data, tmp_path, steps)
    )
    assert differences(plain, outcome.run_folder, steps) == []
    for fault, stall, restarts in outcome.found:
        # Metrics may lag one call behind; a just-in-time checkpoint is of the call before it.
        most = (
            3 * STEPS_PER_CALL
            if fault.name.startswith("drain")
            else CHECKPOINT_EVERY + STEPS_PER_CALL
        )
        assert stall.steps_lost <= most, (fault.name, stall)
        if fault.name.endswith("for 5 s"):
            assert restarts == [], f"{fault.name} started the workers again:\n{outcome.output}"
    assert "preemption" in {manifest.reason for manifest in outcome.manifests}


def test_an_elastic_run_shrinks_and_grows(hosts: RayHosts, garments: Path, tmp_path: Path) -> None:
    faults = [fault for fault in CHOSEN if fault.is_elastic]
    steps = 3500 * len(faults)
    outcome = play(hosts, faults, garments, tmp_path / "run", steps)
    ended_and_skipped_nothing(outcome, steps)
    assert sizes(outcome) == [2] + [1, 2] * len(faults)


def ended_and_skipped_nothing(outcome: Outcome, steps: int) -> None:
    """Check that every scheduled checkpoint exists, in one order, with all images before it."""
    assert outcome.code == 0, outcome.output[-4000:]
    manifests = outcome.manifests
    of_schedule = [manifest.step for manifest in manifests if manifest.step % CHECKPOINT_EVERY == 0]
    assert of_schedule == list(range(CHECKPOINT_EVERY, steps + 1, CHECKPOINT_EVERY))
    batch = int(SMALL["training.global_batch_size"])
    assert [manifest.images_seen for manifest in manifests] == [
        manifest.step * batch for manifest in manifests
    ]
    assert len({str(manifest.order) for manifest in manifests}) == 1


def sizes(outcome: Outcome) -> list[int]:
    """Return the number of workers that wrote the checkpoints, once for each change."""
    return [
        size for size, _ in itertools.groupby(manifest.world_size for manifest in outcome.manifests)
    ]
