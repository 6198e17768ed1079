"""Log lines: JSON on workers, short lines on a terminal, no secrets."""

import json
import logging
from datetime import datetime, timedelta

import numpy as np
import pytest

from job.telemetry.logs import at_step, configure

log = logging.getLogger("dcgan.test")


@pytest.fixture(autouse=True)
def _no_step() -> None:
    at_step(None)  # a worker of another test in this process may have set it


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", rank=1, run="garments", as_json=True)
    log.info(
        "checkpoint %s",
        "committed",
        extra={"fields": {"step": 1200, "seconds": 3.2, "parts": ["a\nb"]}},
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    event = json.loads(err)
    time = datetime.fromisoformat(event.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert err.split('"')[3].endswith("Z")
    assert event == {
        "level": "info",
        "run": "garments",
        "rank": 1,
        "step": 1200,
        "event": "checkpoint committed",
        "fields": {"seconds": 3.2, "parts": ["a\nb"]},
    }


def test_unknown_values_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure(as_json=True)
    log.warning("slow store")
    assert sorted(json.loads(capsys.readouterr().err)) == ["event", "fields", "level", "time"]


def test_the_step_is_that_of_the_worker_unless_the_line_has_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(as_json=True)
    try:
        at_step(0)
        log.info("begins")
        at_step(1200)
        log.info("trains")
        log.info("committed", extra={"fields": {"step": 1000}})
    finally:
        at_step(None)
    log.info("over")
    assert [json.loads(line).get("step") for line in capsys.readouterr().err.splitlines()] == [
        0,
        1200,
        1000,
        None,
    ]


def test_any_value_makes_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    configure(as_json=True)
    fields = {
        "loss": float("nan"),
        "norm": np.float32("inf"),
        "mean": np.float32(0.5),
        "count": np.int64(3),
        "path": ValueError("x"),
        "ok": True,
    }
    log.info("diverged", extra={"fields": fields})
    event = json.loads(capsys.readouterr().err, parse_constant=refuse)
    assert event["fields"] == {
        "loss": "nan",
        "norm": "inf",
        "mean": 0.5,
        "count": 3,
        "path": "x",
        "ok": True,
    }


def test_an_exception_stays_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(as_json=True)
    try:
        raise OSError("disk full")
    except OSError:
        log.exception("checkpoint failed")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "OSError: disk full" in json.loads(err)["exception"]


def test_people_get_a_short_line_without_colour_in_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(rank=1)
    log.info("checkpoint committed", extra={"fields": {"step": 1200, "seconds": 3.25}})
    log.warning("slow store")
    first, second = capsys.readouterr().err.splitlines()
    assert first[8:] == " checkpoint committed  rank 1  step 1200  seconds 3.25"
    assert second[8:] == " warning slow store  rank 1"


def test_a_terminal_gets_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    configure()
    log.warning("slow store")
    assert "\x1b[33mwarning\x1b[0m slow store" in capsys.readouterr().err


def test_no_color_is_respected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    configure()
    log.warning("slow store")
    assert "\x1b" not in capsys.readouterr().err


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning")
    log.info("quiet")
    log.error("loud")
    assert capsys.readouterr().err.splitlines()[0].endswith("error loud")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure("loud")


def test_configuring_twice_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure()
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_masked_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    secret, token = 'wJalr/XUtn"FEMI+K7', "FwoGZXIvYXdzEBYa=="
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    configure(as_json=as_json)
    log.info(
        "key is %s",
        secret,
        extra={
            "fields": {"headers": {"token": [token]}, "url": "https://h/?t=FwoGZXIvYXdzEBYa%3D%3D"}
        },
    )
    try:
        raise ValueError(f"refused {secret}")
    except ValueError:
        log.exception("failed")
    err = capsys.readouterr().err
    for part in ("XUtn", "FwoGZX"):
        assert part not in err
    assert err.count("***") >= 4
