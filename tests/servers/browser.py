"""Headless Chromium: a screenshot of a page, and the page after its scripts have run."""

import shutil
import subprocess
from pathlib import Path

from PIL import Image

from tests.servers.process import end_group
from tests.servers.tools import skip_or_fail

# Headless Chromium 120 and newer, without network requests.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def shown_in_a_browser(
    page: Path, folder: Path, size: tuple[int, int], *, dark: bool = False
) -> tuple[Image.Image, str]:
    """Return a screenshot by headless Chromium, and the page after it was shown."""
    folder.mkdir()
    flags = [
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={size[0]},{size[1]}",
    ]
    run_browser(page, folder, *flags, f"--screenshot={folder / 'shot.png'}")
    with Image.open(folder / "shot.png") as image:
        return image.convert("RGB"), run_browser(page, folder, *flags, "--dump-dom")


def run_browser(page: Path, folder: Path, *flags: str) -> str:
    """Return the standard output, once a page's timers have run; end its whole process group."""
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        skip_or_fail("chromium: not found on PATH; install Debian's package of that name")
    command = [
        chromium,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",  # milliseconds of timers, which pass at once
        *flags,
        page.as_uri(),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            end_group(process)
    assert process.returncode == 0
    return output
