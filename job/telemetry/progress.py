"""The progress bar of a run on standard error: two lines on a terminal, now and then one plain line anywhere else.

Knows only ``StepReport``; nothing here decides when a run reports.

    with ProgressBar() as bar:
        bar.update(progress)
        bar.note("samples: runs/one/samples/step-000001200.png")
"""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table
from rich.text import Text

from job.config.text import printable
from job.telemetry.step_report import StepReport, seconds_left

WIDE_COLUMNS = 110
PHASE_COLUMNS = len("checkpoint")


def clock_text(seconds: float | None) -> str:
    """``1:02:03``, ``2:03`` or ``-:--`` where the time is unknown."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_text(seconds: float) -> str:
    """``17 ms`` below a second, ``2.4 s`` above."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def throughput_text(progress: StepReport) -> str:
    """``1,810 images/s``, with a decimal where there are few."""
    rate = progress.images_per_second
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s"


def plain_line(progress: StepReport) -> str:
    """The whole report in one line, for a log file or a pipe."""
    course = f"{progress.phase}: step {progress.step:,}/{progress.total_steps:,}"
    if not progress.step:  # there is nothing to measure yet
        return course
    return (
        f"{course}, epoch {progress.epoch:.2f}, {throughput_text(progress)}, "
        f"D loss {progress.discriminator_loss:.3f}, G loss {progress.generator_loss:.3f}, "
        f"D(x) {progress.real_probability:.2f}, D(G(z)) {progress.fake_probability:.2f}, left {clock_text(seconds_left(progress))}"
    )


class ProgressView:
    """The two lines of the bar: how far and how long, then how well. Drawn from the latest report at the width the terminal has now."""

    def __init__(self) -> None:
        self.progress: StepReport | None = None
        self._begun = time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.progress is None:
            yield Text(f"start  {clock_text(time.monotonic() - self._begun)}", style="bold")
            return
        yield self._course(self.progress)
        yield self._state(self.progress, options.max_width)

    def _course(self, progress: StepReport) -> Table:
        waiting = progress.step == 0 and progress.phase in ("start", "compile")
        share = progress.step / progress.total_steps if progress.total_steps else 1.0
        line = Table.grid(padding=(0, 2, 0, 0), expand=True)
        line.add_column(width=PHASE_COLUMNS)
        line.add_column(ratio=1)
        for _ in range(3):
            line.add_column(justify="right", no_wrap=True)
        line.add_row(
            Text(progress.phase, style="bold"),
            Bar(total=max(progress.total_steps, 1), completed=progress.step, pulse=waiting),
            Text(f"{progress.step:,}/{progress.total_steps:,}"),
            # Rounded down: 100% is said at the last step only.
            Text(f"{int(share * 100)}%"),
            Text(f"left {clock_text(seconds_left(progress))}", style="cyan"),
        )
        return line

    def _state(self, progress: StepReport, columns: int) -> Text:
        line = Text(" " * PHASE_COLUMNS, no_wrap=True, overflow="ellipsis")
        if not progress.step:
            return line.append("  waiting for the first steps", style="dim")
        parts = [
            ("", throughput_text(progress)),
            ("D loss ", f"{progress.discriminator_loss:.3f}"),
            ("G loss ", f"{progress.generator_loss:.3f}"),
            ("D(x) ", f"{progress.real_probability:.2f}"),
            ("D(G(z)) ", f"{progress.fake_probability:.2f}"),
        ]
        if columns >= WIDE_COLUMNS:
            parts += [
                ("epoch ", f"{progress.epoch:.2f}"),
                ("step ", duration_text(progress.step_seconds)),
            ]
            if progress.checkpoint_step is not None:
                parts.append(("saved ", f"{progress.checkpoint_step:,}"))
        for name, value in parts:
            line.append("  ").append(name, style="dim").append(value)
        return line


class ProgressBar:
    """Shows the latest ``StepReport`` until it is closed; a context manager.

    On a terminal a bar that follows its width. Elsewhere one plain line for the first report, then one at most every ``line_seconds``, and
    one for the last, so that a log of a day has a readable length. ``clock`` is in seconds and only has to be monotonic.
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
        self._view = ProgressView()
        self._live: Live | None = None
        self._printed_at: float | None = None
        self._printed: StepReport | None = None

    def __enter__(self) -> "ProgressBar":
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(self._view, console=self._console, refresh_per_second=4)
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._view.progress != self._printed:
            self._print_progress()

    def update(self, progress: StepReport) -> None:
        """Show ``progress`` from now on."""
        self._view.progress = progress
        due = self._printed_at is None or self._clock() - self._printed_at >= self._line_seconds
        if self._live is None and due and progress != self._printed:
            self._print_progress()

    def note(self, text: str) -> None:
        """Print one line that stays, above the bar, without control characters."""
        # Markup is off: a path or an error text may hold square brackets. Soft wrap: a pipe must get the line whole.
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _print_progress(self) -> None:
        if self._view.progress is None:
            return
        self._printed_at = self._clock()
        self._printed = self._view.progress
        self.note(plain_line(self._view.progress))
