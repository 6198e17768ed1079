"""TensorBoard reads the event files: scalars, pictures, and restarts that supersede steps."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from job.report.metric_history import read_metrics
from job.run import tensorboard
from job.storage.uri import open_store
from tests.report.runs import TOTAL, grid, troubled_run
from tests.servers.tools import skip_or_fail


def accumulated(folder: Path) -> Any:
    """Return TensorBoard's reader; skip without it, or fail if DCGAN_REQUIRE_TOOLS=1 (CI)."""
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        skip_or_fail(f"tensorboard: {error}; install requirements-dev.lock")
    limits = {event_accumulator.SCALARS: 0, event_accumulator.IMAGES: 0}
    return event_accumulator.EventAccumulator(str(folder), size_guidance=limits).Reload()


def test_tensorboard_reads_what_counts_of_a_run_with_restarts(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    troubled_run(store)
    found = accumulated(tmp_path / "run" / "events")
    rows = [row for row in read_metrics(store).rows if "dcgan_generator_loss" in row.values]
    scalars = {event.step: event for event in found.Scalars("health/dcgan_generator_loss")}
    assert list(scalars) == sorted(scalars)
    assert set(scalars) == {row.step for row in rows}
    for row in rows:
        assert scalars[row.step].value == pytest.approx(
            row.values["dcgan_generator_loss"], rel=1e-5
        )
    assert {
        "speed/dcgan_images_per_second",
        "checkpoints/dcgan_checkpoint_last_step",
        "data/dcgan_fetch_bytes_total",
        "run/dcgan_step",
    } <= set(found.Tags()["scalars"])
    pictures = found.Images("samples")
    assert [picture.step for picture in pictures] == list(range(0, TOTAL + 1, 1000))
    assert pictures[-1].encoded_image_string == grid(TOTAL)
    assert (pictures[-1].width, pictures[-1].height) == Image.open(io.BytesIO(grid(TOTAL))).size


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, -1e300, 0.0])
def test_any_number_can_be_written(value: float) -> None:
    assert tensorboard.scalars_event(0.0, 1, {"dcgan_generator_loss": value})
