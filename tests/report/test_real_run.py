"""The run folder of a real run of two workers under Ray, which other tests share."""

import json
import re
from typing import Any

import pytest

from job.report.metric_history import read_metrics
from job.report.status import read_status
from job.run.layout import (
    EVENTS,
    GRIDS,
    LOGS,
    METRICS,
    METRICS_SEGMENTS,
    REPORT,
    STATUS,
    grid_step,
)
from job.storage.uri import open_store
from tests.launch.fixtures import STEPS, Finished
from tests.run.test_tensorboard import accumulated

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


def test_its_metrics_are_those_served_to_prometheus(undisturbed: Finished) -> None:
    store = open_store(str(undisturbed.folder))
    assert list(store.list(METRICS_SEGMENTS)) == []
    course = read_metrics(store)
    assert course.num_bad_lines == 0
    assert [course.rows[0].step, course.rows[0].phase] == [0, "compile"]
    assert course.rows[-1].step == STEPS
    last = course.rows[-1].values
    assert (
        last["dcgan_step"] == last["dcgan_steps_total"] == last["dcgan_step_seconds_count"] == STEPS
    )
    assert last["dcgan_images_total"] == STEPS * 16
    assert last["dcgan_world_size"] == 2
    assert last["dcgan_checkpoint_last_step"] >= STEPS - 50
    assert 0 < last["dcgan_generator_loss"] < 20
    assert 0 < last["dcgan_sample_diversity"] < 255
    checkpoints = [row.step for row in course.rows if row.phase == "checkpoint"]
    assert len(checkpoints) > STEPS // 50 / 2


def test_every_process_left_its_log(undisturbed: Finished) -> None:
    store = open_store(str(undisturbed.folder))
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in store.list(LOGS):
        who = re.fullmatch(
            rf"{LOGS}\d{{8}}T\d{{6}}Z(?:-000)?-(driver|rank\d{{3}})-000001\.jsonl", entry.key
        )
        assert who, entry.key
        found[who[1]] = [json.loads(line) for line in store.read(entry.key).splitlines()]
    assert found.keys() == {"driver", "rank000", "rank001"}
    for events in found.values():
        assert events[0]["event"] == "process started"
        assert events[-1]["event"] == "process ended"
        assert not [event for event in events if event["level"] in ("error", "critical")]
    assert [event["rank"] for event in found["rank001"]] == [1] * len(found["rank001"])
    assert {"worker started", "first call done", "checkpoint committed"} <= {
        event["event"] for event in found["rank000"]
    }


def test_tensorboard_reads_it(undisturbed: Finished) -> None:
    read = accumulated(undisturbed.folder / EVENTS.rstrip("/"))
    assert read.Scalars("health/dcgan_generator_loss")[-1].step == STEPS
    store = open_store(str(undisturbed.folder))
    assert [picture.step for picture in read.Images("samples")] == [
        grid_step(entry.key) for entry in store.list(f"{GRIDS}0")
    ]
    assert read.Images("samples")[-1].encoded_image_string == store.read(f"{GRIDS}{STEPS:09d}.png")


def test_its_status_and_report_are_there(undisturbed: Finished) -> None:
    store = open_store(str(undisturbed.folder))
    found = read_status(store)
    assert (
        found.state,
        found.step,
        found.total_steps,
        found.checkpoint_step,
        found.num_starts,
    ) == ("done", STEPS, STEPS, STEPS, 1)
    assert (
        f"metrics of worker 0: {json.loads(store.read(STATUS))['metrics_url']}\n"
        in undisturbed.output
    )
    assert 0 < (found.goodput or 0) < 1
    assert sum(found.goodput_seconds.values()) <= 2 * found.goodput_seconds["seconds"] + 0.1
    assert (found.restarts, found.rollbacks, found.hangs) == (0, 0, 0)
    assert found.grid == f"{store.uri}/samples/step-{STEPS:09d}.png"
    page = store.read(REPORT).decode()
    assert '<span class="badge done">done</span>' in page
    assert page.count("<svg") == 6
    assert f"report:       {undisturbed.folder}/{REPORT}\n" in undisturbed.output
    assert store.stat(METRICS)
