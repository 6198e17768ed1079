"""Stored logs: lines of the program and of libraries, the end of a process, no secrets."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job.config.errors import ConfigError
from job.run.layout import LOGS
from job.run.log_file import log_to_store
from job.run.segments import Writer
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.telemetry.logs import at_step
from tests.run.stored import stored_rows
from tests.servers.prometheus import wait_for

START = "20260102T030000Z-000"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


def events(store: ObjectStore) -> list[dict[str, Any]]:
    return stored_rows(store, LOGS)


def kept(store: ObjectStore) -> dict[str, str]:
    """Level by event, without the lines of start and end."""
    return {
        event["event"]: event["level"]
        for event in events(store)
        if not event["event"].startswith("process ")
    }


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    """A test before in this process may have silenced TensorFlow, or trained to some step."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.NOTSET)
    at_step(None)
    yield
    at_step(None)
    logger.setLevel(level)


def test_lines_of_the_program_from_info_up_and_warnings_of_libraries_once_each(
    store: ObjectStore,
) -> None:
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "rank001", "garments", 1):
        logging.getLogger("dcgan.training").info(
            "first call done", extra={"fields": {"step": 20, "seconds": 1.5}}
        )
        logging.getLogger("dcgan.training").debug("not this")
        for name in ("ray.train", "tensorflow", "absl", "elsewhere.deep"):
            logging.getLogger(name).warning("%s warns", name)
            logging.getLogger(name).info("%s talks", name)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    [entry] = store.list(LOGS)
    assert entry.key == f"{LOGS}{START}-rank001-000001.jsonl"
    found = events(store)
    assert [event["event"] for event in found[:2]] == ["process started", "first call done"]
    assert found[1]["step"] == 20
    assert (found[1]["run"], found[1]["rank"], found[1]["fields"]) == (
        "garments",
        1,
        {"seconds": 1.5},
    )
    assert [event["fields"]["logger"] for event in found[2:6]] == [
        "ray.train",
        "tensorflow",
        "absl",
        "elsewhere.deep",
    ]
    assert [event["level"] for event in found[2:7]] == ["warning"] * 5
    assert "old ways" in found[6]["event"]
    assert found[7]["event"] == "process ended"
    assert len(found) == 8


def test_a_logger_without_propagation_is_stored(store: ObjectStore) -> None:
    logger = logging.getLogger("ray")
    propagate, logger.propagate = logger.propagate, False
    try:
        with Writer(store, 3600.0) as writer, log_to_store(writer, START, "driver", "garments"):
            logger.warning("a node died")
            logging.getLogger("ray.train").error("a worker died")
    finally:
        logger.propagate = propagate
    assert kept(store) == {"a node died": "warning", "a worker died": "error"}


@pytest.mark.parametrize("name", ["ray.train", "ray.data"])
def test_rays_libraries_keep_their_warnings_from_ray_and_not_from_us(
    store: ObjectStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        logging.getLogger(name), "propagate", False
    )  # as ray.train does when it is loaded
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "driver", "garments"):
        logging.getLogger(f"{name}.deep").warning("a worker died")
    assert kept(store) == {"a worker died": "warning"}


def test_lines_have_the_step_that_the_worker_is_at(store: ObjectStore) -> None:
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "rank000", "garments", 0):
        logging.getLogger("dcgan.x").info("before the first")
        at_step(1200)
        logging.getLogger("ray").warning("slow")
        logging.getLogger("dcgan.x").info("committed", extra={"fields": {"step": 1000}})
    assert {event["event"]: event.get("step") for event in events(store)} == {
        "process started": None,
        "before the first": None,
        "slow": 1200,
        "committed": 1000,
        "process ended": 1200,
    }


def test_the_traceback_that_ended_the_process_is_kept(store: ObjectStore) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of all things")

    with (
        pytest.raises(ZeroDivisionError),
        Writer(store, 3600.0) as writer,
        log_to_store(writer, START, "rank000", "garments", 0),
    ):
        fail()
    last = events(store)[-1]
    assert (last["level"], last["event"]) == ("critical", "ended by ZeroDivisionError")
    assert "in fail\n" in last["exception"]
    assert last["exception"].endswith("ZeroDivisionError: of all things")


def test_an_expected_error_is_its_message(
    store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(ConfigError),
        Writer(store, 3600.0) as writer,
        log_to_store(writer, START, "driver", "garments"),
    ):
        raise ConfigError("uri is not set")
    last = events(store)[-1]
    assert (last["level"], last["event"], last["fields"]) == (
        "error",
        "uri is not set",
        {"exit_code": 2},
    )
    assert "exception" not in last
    assert "uri is not set" not in capsys.readouterr().err, "the program itself prints it"


def test_a_warning_is_on_the_store_at_once(store: ObjectStore) -> None:
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "rank000", "garments", 0):
        logging.getLogger("dcgan.watchdog").critical("rank 0 hangs")
        wait_for(
            "the line", lambda: any(event["event"] == "rank 0 hangs" for event in events(store)), 60
        )


def test_secrets_are_masked(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY")

    def fail() -> None:
        logging.getLogger("botocore").warning(
            "signing with %s", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
        )
        logging.getLogger("dcgan.storage").info(
            "key", extra={"fields": {"key": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"}}
        )
        raise OSError("refused wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY")

    with (
        pytest.raises(OSError),
        Writer(store, 3600.0) as writer,
        log_to_store(writer, START, "rank000", "garments", 0),
    ):
        fail()
    data = b"".join(store.read(entry.key) for entry in store.list(LOGS))
    assert b"wJalr" not in data
    assert data.count(b"***") >= 3


def test_a_formatter_of_other_code_changes_nothing(store: ObjectStore) -> None:
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "driver", "garments"):
        for handler in logging.getLogger().handlers:
            before = handler.formatter
            handler.setFormatter(logging.Formatter("%(message)s"))  # as ray.init does
            logging.getLogger("dcgan.x").warning("slow store")
            handler.setFormatter(before)
    assert kept(store) == {"slow store": "warning"}


def test_nothing_stays_attached(store: ObjectStore) -> None:
    loggers = [logging.getLogger(name) for name in (None, "dcgan", "ray", "tensorflow", "absl")]
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "driver", "garments"):
        assert all(
            len(logger.handlers) == len(handlers) + 1
            for logger, (handlers, _) in zip(loggers, before, strict=True)
        )
    assert [(list(logger.handlers), logger.level) for logger in loggers] == before


def test_a_line_that_cannot_be_written_breaks_nothing(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    with Writer(store, 3600.0) as writer, log_to_store(writer, START, "driver", "garments"):
        logging.getLogger("dcgan.x").warning("%s", Broken())
        logging.getLogger("dcgan.x").warning("half a \udcff letter")
    assert kept(store) == {"half a ? letter": "warning"}
