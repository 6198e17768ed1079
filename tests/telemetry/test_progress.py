"""The progress bar, on a terminal of some width and into a pipe."""

import io
import re

import pytest
from rich.console import Console

from job.telemetry.progress import ProgressBar, clock_text
from tests.telemetry.step_reports import report


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def terminal(columns: int) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=columns,
        height=30,
        color_system=None,
        _environ={"TERM": "xterm"},
    )


def pipe() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_in_80_columns_both_lines_are_whole() -> None:
    console = terminal(80)
    with ProgressBar(console) as bar:
        bar.update(report())
    course, state = re.sub(r"\x1b\[[?\d;]*\w", "", written(console)).splitlines()[-2:]
    assert course.lstrip("\r").startswith("train       ━")
    assert course.rstrip().endswith("1,240/18,750  6%  left 5:10")
    assert (
        state.split(maxsplit=1)[1]
        == "images/s  D loss 0.512  G loss 1.234  D(x) 0.71  D(G(z)) 0.24"
    )
    assert len(state) <= 80


def test_120_columns_show_more() -> None:
    console = terminal(120)
    with ProgressBar(console) as bar:
        bar.update(report(checkpoint_step=1200))
    assert "D(G(z)) 0.24  epoch 0.66  step 18 ms  saved 1,200" in written(console)


def test_before_the_first_steps_no_loss_is_shown() -> None:
    console = terminal(80)
    with ProgressBar(console) as bar:
        bar.update(report(step=0, images=0, phase="compile"))
    assert "waiting for the first steps" in written(console)
    assert "D loss" not in written(console)


def test_a_note_is_printed_unchanged_above_the_bar() -> None:
    console = terminal(80)
    with ProgressBar(console) as bar:
        bar.update(report())
        bar.note("samples: runs/[bold]one/step.png")
    text = written(console)
    assert 0 <= text.index("samples: runs/[bold]one/step.png") < text.rindex("1,240/18,750")


def test_a_pipe_gets_the_first_report_then_one_line_each_ten_seconds_then_the_last() -> None:
    console, clock = pipe(), Clock()
    with ProgressBar(console, line_seconds=10, clock=clock) as bar:
        for second in range(26):
            clock.seconds = float(second)
            bar.update(report(step=second + 1, images=(second + 1) * 32))
    lines = written(console).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "train: step 1/18",
        "train: step 11/18",
        "train: step 21/18",
        "train: step 26/18",
    ]


def test_a_plain_line_has_all_and_is_not_wrapped() -> None:
    console = pipe()
    with ProgressBar(console) as bar:
        bar.update(report())
    assert written(console) == (
        "train: step 1,240/18,750, epoch 0.66, 1,810 images/s, D loss 0.512, G loss 1.234,"
        " D(x) 0.71, D(G(z)) 0.24, left 5:10\n"
    )


def test_a_pipe_has_no_control_characters() -> None:
    console = pipe()
    with ProgressBar(console) as bar:
        bar.update(report())
        bar.note("done")
    assert "\x1b" not in written(console)
    assert written(console).endswith("\ndone\n")


def test_a_run_without_a_report_prints_nothing_into_a_pipe() -> None:
    console = pipe()
    with ProgressBar(console):
        pass
    assert written(console) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-:--"), (0.4, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03")],
)
def test_clock_text(seconds: float | None, text: str) -> None:
    assert clock_text(seconds) == text
