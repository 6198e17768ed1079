"""Output of libraries is hidden, and shown if they fail."""

import os

import pytest

from job.config.errors import DataError
from job.telemetry.quiet import quiet_stderr


def chatter(error: BaseException | None = None) -> None:
    with quiet_stderr():
        os.write(2, b"a library loads\n")
        if error:
            raise error


def test_output_is_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    chatter()
    os.write(2, b"shown again\n")
    assert capfd.readouterr().err == "shown again\n"


@pytest.mark.parametrize(
    ("error", "shown"), [(ValueError("x"), "a library loads\n"), (DataError("x"), "")]
)
def test_output_is_shown_after_an_unexpected_error(
    error: Exception, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)):
        chatter(error)
    assert capfd.readouterr().err == shown
