"""Progress of a run on standard error: a bar on a terminal, plain lines in a pipe or a log file.

with ProgressBar() as bar:
    bar.update(report)
    bar.note("samples: runs/one/samples/step-000001200.png")
"""

import time
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from job.config.text import printable
from job.telemetry.step_report import StepReport, seconds_left

WIDE_COLUMNS = 110
PHASE_COLUMNS = len("checkpoint")


def clock_text(seconds: float | None) -> str:
    """Return ``1:02:03`` or ``2:03``; ``-:--`` if the time is unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_text(seconds: float) -> str:
    """Return ``17 ms`` below a second, ``2.4 s`` above."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def throughput_text(report: StepReport) -> str:
    """Return ``1,810 images/s``; below 10 with a decimal."""
    rate = report.images_per_second
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s"


def losses_text(report: StepReport) -> list[tuple[str, str]]:
    """Return label and value of losses and probabilities."""
    return [
        ("D loss", f"{report.discriminator_loss:.3f}"),
        ("G loss", f"{report.generator_loss:.3f}"),
        ("D(x)", f"{report.real_probability:.2f}"),
        ("D(G(z))", f"{report.fake_probability:.2f}"),
    ]


def plain_line(report: StepReport) -> str:
    """Return the report in one line, for a log file or a pipe."""
    parts = [f"{report.phase}: step {report.step:,}/{report.total_steps:,}"]
    if report.step:
        parts += [f"epoch {report.epoch:.2f}", throughput_text(report)]
        parts += [f"{label} {value}" for label, value in losses_text(report)]
        parts.append(f"left {clock_text(seconds_left(report))}")
    return ", ".join(parts)


class _TwoLines(Progress):
    """A bar of steps with the time left, and below it the losses of the latest report."""

    def __init__(self, console: Console) -> None:
        self._report: StepReport | None = None
        self._begun = time.monotonic()
        super().__init__(
            TextColumn(f"[bold]{{task.description:<{PHASE_COLUMNS + 1}}}"),
            BarColumn(bar_width=None),
            TextColumn(" {task.fields[position]}  [cyan]left {task.fields[left]}"),
            console=console,
            refresh_per_second=4,
            expand=True,
        )
        self._task = self.add_task("", start=False)  # the bar of a task that has not started pulses

    def show(self, report: StepReport) -> None:
        """Show ``report`` at the next refresh."""
        total = report.total_steps
        percent = int(report.step / total * 100) if total else 100  # 100% only at the last step
        if report.step or report.phase not in ("start", "compile"):
            self.start_task(self._task)
        self.update(
            self._task,
            description=report.phase,
            total=max(total, 1),
            completed=report.step,
            position=f"{report.step:,}/{total:,}  {percent}%",
            left=clock_text(seconds_left(report)),
        )
        self._report = report

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the two lines for the present width."""
        if self._report is None:
            yield Text(f"start  {clock_text(time.monotonic() - self._begun)}", style="bold")
            return
        yield self.make_tasks_table(self.tasks)
        yield self._losses(self._report)

    def _losses(self, report: StepReport) -> Text:
        line = Text(" " * PHASE_COLUMNS, no_wrap=True, overflow="ellipsis")
        if not report.step:
            return line.append("  waiting for the first steps", style="dim")
        parts = losses_text(report)
        if self.console.width >= WIDE_COLUMNS:
            parts.append(("epoch", f"{report.epoch:.2f}"))
            parts.append(("step", duration_text(report.step_seconds)))
            if report.checkpoint_step is not None:
                parts.append(("saved", f"{report.checkpoint_step:,}"))
        line.append("  " + throughput_text(report))
        for label, value in parts:
            line.append(f"  {label} ", style="dim").append(value)
        return line


class ProgressBar:
    """Shows the latest ``StepReport`` until it is closed; a context manager.

    A terminal shows a bar that follows its width. Otherwise the first and the last report and at
    most one every ``line_seconds`` are printed, one line each. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        line_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._line_seconds = line_seconds
        self._clock = clock
        self._bar: _TwoLines | None = None
        self._latest: StepReport | None = None
        self._printed: StepReport | None = None
        self._printed_at: float | None = None

    def __enter__(self) -> "ProgressBar":
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = _TwoLines(self._console)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
        elif self._latest != self._printed:
            self._print_latest()

    def update(self, report: StepReport) -> None:
        """Show ``report`` from now on."""
        self._latest = report
        if self._bar:
            self._bar.show(report)
            return
        is_due = self._printed_at is None or self._clock() - self._printed_at >= self._line_seconds
        if is_due and report != self._printed:
            self._print_latest()

    def note(self, text: str) -> None:
        """Print one permanent line above the bar, without control characters."""
        # Paths and error texts contain square brackets, and a pipe needs whole lines.
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _print_latest(self) -> None:
        if self._latest:
            self._printed, self._printed_at = self._latest, self._clock()
            self.note(plain_line(self._latest))
