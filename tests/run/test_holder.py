"""The content of ``lease.json``, and when its holder counts as gone."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from job.run.holder import BadLease, is_gone, new_holder, parse_holder

GOOD: dict[str, Any] = {
    "format_version": 1, "token": "0" * 32, "host": "gpu-7", "pid": 12, "process_started": 1,
    "boot_id": "00000000-0000-4000-8000-000000000000", "pid_namespace": "pid:[1]",
    "since": "2025-01-01T12:00:00+00:00", "renewed": "2025-01-01T12:00:00+00:00",
    "seconds": 30, "number": 1,
}  # fmt: skip
UNKNOWN_ON_MACOS = {"process_started", "boot_id", "pid_namespace"}
HOSTILE: list[tuple[Any, str]] = [
    (b"", "is not JSON"),
    (b"\xff\xfe\x00", "is not JSON"),
    (b"[" * 60_000, "is nested too deeply"),
    (b"9" * 60_000, "is not JSON"),
    (b"[1]", "the document is [1]; expected an object"),
    (b"null", "the document is None; expected an object"),
    (json.dumps(GOOD).encode().ljust(64 * 1024 + 1), "has more than 65,536 bytes"),
    ({"format_version": 2}, "format_version is 2; this program reads version 1"),
    ({"format_version": True}, "format_version is True"),
    ({"token": "../../etc"}, "token is '../../etc'; expected 32 hexadecimal digits"),
    ({"token": 5}, "token is 5; expected"),
    ({"host": "\x1b[2Jgpu"}, r"host is '\x1b[2Jgpu'; expected a host name"),
    ({"host": "h" * 256}, "host is 'hhhh"),
    ({"host": "gpu\n"}, r"host is 'gpu\n'"),
    ({"pid": 0}, "pid is 0; expected a whole number of at least 1"),
    ({"pid": -1}, "pid is -1"),
    ({"pid": True}, "pid is True"),
    ({"pid": 2**31}, "pid is 2147483648"),
    ({"pid": 1.5}, "pid is 1.5"),
    ({"process_started": -1}, "process_started is -1; expected a whole number of at least 0"),
    ({"boot_id": "here"}, "boot_id is 'here'; expected a UUID or null"),
    ({"pid_namespace": "pid:[x]"}, "pid_namespace is 'pid:[x]'"),
    ({"since": "yesterday"}, "since is 'yesterday'; expected a time such as"),
    ({"renewed": None}, "renewed is None; expected a time such as"),
    ({"seconds": 0}, "seconds is 0; expected a number above 0, at most 86400"),
    ({"seconds": float("nan")}, "is not JSON (NaN is not a number in JSON)"),
    ({"seconds": float("inf")}, "is not JSON (Infinity is not a number in JSON)"),
    (json.dumps({**GOOD, "seconds": 0.5}).replace("0.5", "1e999").encode(), "seconds is inf"),
    ({"seconds": 10**400}, "seconds is 1000"),
    ({"seconds": "30"}, "seconds is '30'"),
    ({"seconds": True}, "seconds is True"),
    ({"number": 0}, "number is 0; expected a whole number of at least 1"),
    ({"number": 2**63 + 1}, "number is 9223372036854775809"),
]


@pytest.mark.parametrize(("found", "text"), HOSTILE, ids=[text[:30] for _, text in HOSTILE])
def test_an_invalid_lease_is_named(found: Any, text: str) -> None:
    data = found if isinstance(found, bytes) else json.dumps({**GOOD, **found}).encode()
    with pytest.raises(BadLease) as caught:
        parse_holder(data, "s3://bucket/lease.json")
    assert f"s3://bucket/lease.json: {text}" in str(caught.value)
    assert "make sure that none does, then delete that object" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", sorted(GOOD.keys() - UNKNOWN_ON_MACOS))
def test_every_field_is_needed(name: str) -> None:
    assert parse_holder(json.dumps(GOOD).encode(), "uri").pid == 12
    with pytest.raises(BadLease, match=f"uri: {name} is (missing|None)"):
        parse_holder(
            json.dumps({key: value for key, value in GOOD.items() if key != name}).encode(), "uri"
        )


def test_a_written_lease_is_read_back() -> None:
    holder = new_holder(30)
    assert parse_holder(holder.to_json(), "uri") == holder
    elsewhere = dataclasses.replace(holder, process_started=None, boot_id=None, pid_namespace=None)
    assert parse_holder(elsewhere.to_json(), "uri") == elsewhere
    later = parse_holder(holder.again().to_json(), "uri")
    assert later == dataclasses.replace(holder, number=2, renewed=later.renewed)


def test_tokens_are_of_one_job_each() -> None:
    assert len({new_holder(30).token for _ in range(100)}) == 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_process_is_gone_when_it_has_ended_or_its_number_is_reused() -> None:
    own = new_holder(30)
    assert own.pid == os.getpid()
    assert not is_gone(own)
    assert is_gone(dataclasses.replace(own, process_started=(own.process_started or 0) + 1))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        # It has ended, and its parent does not know.
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(dataclasses.replace(own, pid=ended.pid))
    assert is_gone(dataclasses.replace(own, pid=ended.pid))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "gpu-7"},
        {"boot_id": GOOD["boot_id"]},
        {"boot_id": None},
        {"pid_namespace": "pid:[1]"},
    ],
)
def test_nothing_is_known_of_processes_elsewhere(elsewhere: dict[str, Any]) -> None:
    assert not is_gone(dataclasses.replace(new_holder(30), pid=2**31 - 1, **elsewhere))
