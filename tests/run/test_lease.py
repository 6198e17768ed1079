"""The lease: one job at a time on a run folder, in a folder and on a real S3 server."""

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.run import lease as lease_module
from job.run.holder import BadLease, new_holder
from job.run.layout import LEASE
from job.run.lease import Lease, LeaseHeld, LeaseLost, acquire, check_holder
from job.storage.local import LocalStore
from job.storage.s3 import S3Store
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.faults import Fault
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, Request, s3_error, scripted_s3

ROOT = Path(__file__).parents[2]
ELSEWHERE: dict[str, Any] = {"host": "gpu-7", "boot_id": "00000000-0000-4000-8000-000000000000"}
LONG = 3600.0  # the seconds of a lease that is not renewed while a test runs
BRISK = 0.6  # renewed every 0.2 s
PATIENCE = 60.0  # seconds, for what takes milliseconds on a machine that is not busy


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty run folder."""
    if request.param == "file":
        return open_store(f"file://{tmp_path}/runs/one")
    server: S3Server = request.getfixturevalue("s3_env")
    return open_store(f"s3://{server.new_bucket()}/runs/one")


@pytest.fixture
def folder(tmp_path: Path) -> LocalStore:
    """An empty run folder on disk, for tests that do not depend on the store."""
    return LocalStore(tmp_path / "runs/one")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy disk may take longer for a release than a job that ends waits for it."""
    monkeypatch.setattr(lease_module, "CLOSE_SECONDS", PATIENCE)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of the lease."""
    caplog.set_level(logging.INFO, "dcgan.lease")
    return caplog


class Waiting:
    """A clock that runs only while one sleeps by it, and what the waiting job said."""

    def __init__(self) -> None:
        self.seconds, self.num_polls = 0.0, 0
        self.notes: list[str] = []

    def acquire(
        self, store: ObjectStore, seconds: float = LONG, wait_seconds: float = 0.0
    ) -> Lease:
        return acquire(
            store,
            seconds,
            wait_seconds=wait_seconds,
            note=self.notes.append,
            clock=lambda: self.seconds,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.seconds, self.num_polls = self.seconds + seconds, self.num_polls + 1


class Frozen(Waiting):
    """A clock that does not move: no wait ends by it. Its owner gives up in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline = time.monotonic() + PATIENCE

    def sleep(self, seconds: float) -> None:
        assert time.monotonic() < self.deadline, "no word from the holder"
        time.sleep(0.02)


def at_once(store: ObjectStore, seconds: float = LONG) -> Lease:
    """Acquire without any waiting."""

    def never(what: object) -> None:
        raise AssertionError(f"waited: {what}")

    return acquire(store, seconds, note=never, sleep=never)


def content(store: ObjectStore) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(store.read(LEASE))
    return fields


def leave(store: ObjectStore, seconds: float = 30.0, **changes: Any) -> dict[str, Any]:
    """A lease that nobody renews: of this process, but for the ``changes``."""
    fields = {**json.loads(new_holder(seconds).to_json()), **changes}
    store.write(LEASE, json.dumps(fields).encode())
    return fields


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not come"
        time.sleep(0.01)


def until_renewed(store: ObjectStore, times: int = 1) -> None:
    """So many times from now on."""
    number = content(store)["number"]
    until(lambda: content(store)["number"] >= number + times)


class Job:
    """A process of ``lease_job``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def go(self) -> None:
        self._input.write("\n")
        self._input.flush()

    def says(self) -> tuple[str, str]:
        """Its next line: the word and the rest."""
        assert self.process.stdout is not None
        word, _, rest = self.process.stdout.readline().strip().partition(" ")
        return word, rest

    def end(self) -> int:
        """Let it end in its own way."""
        self._input.close()
        return self.process.wait(PATIENCE)

    def state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    @property
    def _input(self) -> Any:
        return self.process.stdin


@contextmanager
def job(uri: str, seconds: float) -> Iterator[Job]:
    command = [sys.executable, "-m", "tests.run.lease_job", uri, str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            started = Job(process)
            assert started.says() == ("ready", "")
            yield started
        finally:
            process.kill()


def outcome_of_race(store: ObjectStore, jobs: list[Waiting]) -> tuple[list[Lease], list[str]]:
    """Run them at once: return the leases won, and the messages of the others."""
    together = threading.Barrier(len(jobs))

    def race(waiting: Waiting) -> Lease | str:
        together.wait()
        try:
            return waiting.acquire(store, BRISK)
        except LeaseHeld as error:
            return str(error)

    with ThreadPoolExecutor(len(jobs)) as pool:
        outcomes = list(pool.map(race, jobs))
    return [found for found in outcomes if isinstance(found, Lease)], [
        found for found in outcomes if isinstance(found, str)
    ]


def test_of_racing_threads_one_wins(store: ObjectStore) -> None:
    won, refused = outcome_of_race(store, [Frozen() for _ in range(8)])
    with won[0]:
        assert (len(won), len(refused)) == (1, 7)
        assert content(store)["token"] == won[0].token
        assert all(f"process {os.getpid()}" in text for text in refused)


def test_of_threads_that_race_for_a_dead_jobs_folder_one_wins(store: ObjectStore) -> None:
    """All have waited until its seconds were over; those who lose then find one that renews."""

    all_watch = threading.Barrier(8)

    class Impatient(Frozen):
        def acquire(self, store: ObjectStore, seconds: float = LONG) -> Lease:
            begun = iter((0.0,))
            return acquire(
                store,
                seconds,
                note=lambda text: all_watch.wait(),
                clock=lambda: next(begun, 30.0),
                sleep=self.sleep,
            )

    leave(store, 30, **ELSEWHERE)
    won, refused = outcome_of_race(store, [Impatient() for _ in range(8)])
    with won[0]:
        assert (len(won), len(refused)) == (1, 7)
        assert content(store)["token"] == won[0].token


@pytest.mark.slow
def test_of_racing_processes_one_wins(store: ObjectStore) -> None:
    with ExitStack() as stack:
        jobs = [stack.enter_context(job(store.uri, BRISK)) for _ in range(4)]
        for each in jobs:
            each.go()
        said = [each.says() for each in jobs]
        assert sorted(word for word, _ in said) == ["held", "refused", "refused", "refused"]
        assert content(store)["token"] in [token for word, token in said if word == "held"]
        assert [each.end() for each in jobs] == [0, 0, 0, 0]
    assert list(store.list()) == []


def test_a_job_may_wait_for_the_other_to_end(store: ObjectStore) -> None:
    waiting = Frozen()
    with ThreadPoolExecutor(1) as pool:
        with at_once(store, BRISK):
            waits = pool.submit(waiting.acquire, store, BRISK, 1.0)
            until(lambda: len(waiting.notes) == 2)
            until_renewed(store, times=3)
            assert not waits.done()
        with waits.result(PATIENCE) as lease:
            assert content(store)["token"] == lease.token
    assert "waiting up to 0.6 s to see if its holder still lives" in waiting.notes[0]
    assert f"process {os.getpid()} on" in waiting.notes[1]
    assert waiting.notes[1].endswith("trains into this run folder; waiting up to 1 s for it to end")


@pytest.mark.slow
def test_a_job_waits_as_long_as_configured(store: ObjectStore) -> None:
    began = time.monotonic()
    with (
        at_once(store, BRISK),
        pytest.raises(LeaseHeld, match="another job trains into this run folder"),
    ):
        acquire(store, BRISK, wait_seconds=1.5, note=lambda text: None)
    assert time.monotonic() - began >= 1.5


def test_the_refusal_names_the_holder_and_the_remedy(store: ObjectStore) -> None:
    waiting = Frozen()
    with at_once(store, BRISK):
        fields = content(store)
        with pytest.raises(LeaseHeld) as caught:
            waiting.acquire(store)
    assert f"{store.uri}: another job trains" in str(caught.value)
    assert (
        f"process {os.getpid()} on {fields['host']} since {fields['since']} (last renewed 20"
        in str(caught.value)
    )
    assert (
        "Stop that job, or choose another run folder (uri). The lease expires 0.6 s after its"
        " holder died" in str(caught.value)
    )
    assert len(waiting.notes) == 1
    assert (
        f"{store.uri}/lease.json: held by process {os.getpid()} on {fields['host']}"
        in waiting.notes[0]
    )
    assert "waiting up to 0.6 s to see if its holder still lives" in waiting.notes[0]
    assert caught.value.exit_code == 2


def test_a_sign_of_life_on_the_last_check_is_enough(folder: LocalStore) -> None:
    """Whatever its clock says: the dates are years away."""
    old = "2001-01-01T00:00:00+00:00"
    waiting = Waiting()
    fields = leave(folder, since=old, renewed=old, **ELSEWHERE)

    def sleep(seconds: float) -> None:
        waiting.sleep(seconds)
        if waiting.seconds >= 30:
            folder.write(LEASE, json.dumps({**fields, "number": 2}).encode())

    with pytest.raises(LeaseHeld, match="on gpu-7 since 2001"):
        acquire(folder, 5, note=waiting.notes.append, clock=lambda: waiting.seconds, sleep=sleep)
    assert content(folder)["number"] == 2


def test_a_dead_job_of_this_machine_is_followed_at_once(store: ObjectStore) -> None:
    with job(store.uri, LONG) as dead:
        dead.go()
        word, token = dead.says()
        left = store.read(LEASE)
        assert (word, content(store)["token"]) == ("held", token)
        dead.process.kill()
        until(lambda: dead.state() == "Z")  # in a container without an init it may stay so
        with at_once(store) as lease:
            assert content(store)["token"] == lease.token != token
    store.write(LEASE, left)
    with at_once(store) as lease:
        assert content(store)["token"] == lease.token


def test_a_later_process_of_the_same_number_is_not_the_holder(folder: LocalStore) -> None:
    fields = leave(folder)
    leave(folder, process_started=fields["process_started"] - 1)
    with at_once(folder):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "gpu-7"},
        {"boot_id": "00000000-0000-4000-8000-000000000000"},
        {"pid_namespace": "pid:[1]"},
        {"process_started": None, "boot_id": None, "pid_namespace": None},
        {},
    ],
    ids=["host", "boot", "container", "macOS", "it lives and is stuck"],
)
def test_a_holder_that_cannot_be_checked_is_waited_for(
    store: ObjectStore, changes: dict[str, Any]
) -> None:
    """For the seconds of the stored lease, not of the wanted one; by this machine's clock."""
    if changes:
        changes = {
            "pid": 2**31 - 1,
            "renewed": "2999-01-01T00:00:00+00:00",
            **changes,
        }  # here there is no such process
    old = leave(store, 30, **changes)
    waiting = Waiting()
    with waiting.acquire(store, 5) as lease:
        assert content(store)["token"] == lease.token != old["token"]
    assert 30 <= waiting.seconds <= 33
    assert waiting.num_polls >= 9
    assert len(waiting.notes) == 1


def test_a_released_folder_is_taken_at_once(store: ObjectStore) -> None:
    for _ in range(2):
        with at_once(store) as lease:
            assert [info.key for info in store.list()] == [LEASE]
            assert content(store)["token"] == lease.token
        lease.close()  # once more does nothing
        assert list(store.list()) == []


def test_a_lease_released_while_another_job_waits_is_taken(store: ObjectStore) -> None:
    first = at_once(store)
    waiting = Waiting()

    def sleep(seconds: float) -> None:
        waiting.sleep(seconds)
        if waiting.num_polls == 2:
            first.close()

    with acquire(store, LONG, note=waiting.notes.append, clock=lambda: 0.0, sleep=sleep) as second:
        assert content(store)["token"] == second.token
    assert waiting.num_polls == 2


def test_a_renewal_changes_the_number_and_the_time_only(store: ObjectStore) -> None:
    with at_once(store, BRISK) as lease:
        first = content(store)
        until_renewed(store, 3)
        last = content(store)
        assert lease.lost is None
        lease.check()
        check_holder(store, lease.token)
    changed = {name for name in first if first[name] != last[name]}
    assert {"number"} <= changed <= {"number", "renewed"}


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (
            lambda store: leave(store, **ELSEWHERE),
            r"has lost the run folder: taken over by process \d+ on gpu-7 since 20.*choose another",
        ),
        (
            lambda store: store.delete(LEASE),
            "has lost the run folder: its lease was deleted.*choose another",
        ),
        (
            lambda store: store.write(LEASE, b"rubbish"),
            "lease was overwritten: .*lease.json: is not JSON",
        ),
    ],
    ids=["taken over", "deleted", "overwritten"],
)
def test_a_lost_lease_is_noticed_and_the_next_one_stays(
    store: ObjectStore,
    then: Callable[[ObjectStore], object],
    text: str,
    logged: pytest.LogCaptureFixture,
) -> None:
    with at_once(store, BRISK) as lease:
        check_holder(store, lease.token)
        then(store)
        left = [(info.key, store.read(info.key)) for info in store.list()]
        with pytest.raises(LeaseLost, match=text):
            check_holder(store, lease.token)
        until(lambda: lease.lost)
        with pytest.raises(LeaseLost, match=text) as caught:
            lease.check()
    assert caught.value.exit_code == 2
    assert not isinstance(caught.value, StorageError)  # a save is retried after those
    assert [(info.key, store.read(info.key)) for info in store.list()] == left
    assert "run folder" in logged.text


def test_a_release_leaves_the_lease_of_another_that_was_not_noticed_yet(store: ObjectStore) -> None:
    with at_once(store) as lease:
        other = leave(store, **ELSEWHERE)
    assert content(store) == other
    assert lease.lost is not None


def stop(store: ObjectStore, stopped: Job) -> None:
    """Stop it between two writes: during one it keeps the lock of a folder."""
    path = store.local_path(LEASE)
    while True:
        stopped.process.send_signal(signal.SIGSTOP)
        until(lambda: stopped.state() == "T")
        if path is None:
            return
        with path.with_name(".~lock").open() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        stopped.process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_stopped_job_continues_unless_another_took_the_folder(
    store: ObjectStore,
) -> None:
    with job(store.uri, BRISK) as stopped:
        stopped.go()
        assert stopped.says()[0] == "held"
        stop(store, stopped)
        time.sleep(1.5 * BRISK)
        stopped.process.send_signal(signal.SIGCONT)
        until_renewed(store)
        stop(store, stopped)
        waiting = Waiting()
        with waiting.acquire(store) as lease:
            stopped.process.send_signal(signal.SIGCONT)
            word, text = stopped.says()
            assert word == "lost"
            assert f"taken over by process {os.getpid()}" in text
            assert stopped.end() == 0
            check_holder(store, lease.token)
        assert waiting.seconds >= BRISK


def test_the_ownership_check_compares_the_token(store: ObjectStore) -> None:
    with pytest.raises(LeaseLost, match="was deleted"):
        check_holder(store, "0" * 32)
    with at_once(store) as lease:
        check_holder(store, lease.token)
        with pytest.raises(
            LeaseLost,
            match=f"{store.uri}: this job has lost the run folder: taken over by process"
            f" {os.getpid()}",
        ):
            check_holder(store, "0" * 32)


@pytest.fixture
def proxy(s3_env: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(s3_env.endpoint_url) as running:
        yield running


def behind(proxy: FaultProxy, server: S3Server) -> S3Store:
    return S3Store(
        f"s3://{server.new_bucket()}/one",
        StorageSpec(endpoint_url=proxy.endpoint_url, max_attempts=1),
    )


@pytest.mark.s3
def test_an_outage_is_survived(
    s3_env: S3Server, proxy: FaultProxy, logged: pytest.LogCaptureFixture
) -> None:
    """Also one that is longer than the lease: nobody else took the folder."""
    store = behind(proxy, s3_env)
    with at_once(store, BRISK) as lease:
        for outage in (1, 2):
            over = time.monotonic() + 1.5 * BRISK
            proxy.fault(Fault.ERROR_500, match=LEASE, methods=("GET", "HEAD", "PUT", "DELETE"))
            until(
                lambda over=over, outage=outage: (
                    time.monotonic() > over and proxy.injected[Fault.ERROR_500] >= 3 * outage
                )
            )
            proxy.clear()
            # The store has the renewal before the log has its line.
            until(lambda outage=outage: logged.text.count("lease renewed again") == outage)
            assert logged.text.count("lease not renewed, retrying: s3://") == outage
            until_renewed(store, 2)
        assert logged.text.count("lease renewed again") == 2
        assert lease.lost is None


@pytest.mark.s3
def test_a_renewal_whose_answer_was_lost_is_still_ours(s3_env: S3Server, proxy: FaultProxy) -> None:
    """The store has it, this job knows only the tag before."""
    store = behind(proxy, s3_env)
    with at_once(store, BRISK) as lease:
        proxy.fault(Fault.LOST_ANSWER, times=1, match=LEASE, methods=("PUT",))
        until(lambda: proxy.injected[Fault.LOST_ANSWER])
        until_renewed(store, 3)
        assert lease.lost is None
    assert list(store.list()) == []


@pytest.mark.s3
def test_a_failed_release_is_logged_and_raises_nothing(
    s3_env: S3Server, proxy: FaultProxy, logged: pytest.LogCaptureFixture
) -> None:
    store = behind(proxy, s3_env)
    with at_once(store):
        proxy.fault(Fault.ERROR_500, match=LEASE, methods=("DELETE",))
    assert "lease not released, expires in 3600 s: s3://" in logged.text
    assert store.stat(LEASE) is not None


def test_a_release_does_not_hold_up_the_end(
    folder: LocalStore, monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    """On a store that says nothing: here a folder whose lock another has."""
    monkeypatch.setattr(lease_module, "CLOSE_SECONDS", 0.1)
    lease = at_once(folder)
    with (folder.root / ".~lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lease.close()
        assert "not released in 0.1 s; expires in 3600 s" in logged.text
        assert folder.stat(LEASE) is not None
    until(lambda: folder.stat(LEASE) is None)


def test_a_store_out_of_reach_is_an_error_of_the_store(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    store = S3Store(
        "s3://bucket",
        StorageSpec(endpoint_url=f"http://127.0.0.1:{free_port}", region="eu-1", max_attempts=1),
    )
    with pytest.raises(StorageError, match="cannot reach") as caught:
        at_once(store)
    assert "lease_seconds" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"rubbish", b"[" * 200_000], ids=["empty", "rubbish", "large"]
)
def test_an_invalid_lease_is_reported_and_stays(store: ObjectStore, data: bytes) -> None:
    store.write(LEASE, data)
    with pytest.raises(
        BadLease,
        match=f"{store.uri}/lease.json: .*make sure that none does, then delete that object",
    ):
        at_once(store)
    with pytest.raises(LeaseLost, match="this job's lease was overwritten: "):
        check_holder(store, "0" * 32)
    assert store.read(LEASE) == data


@pytest.mark.parametrize("seconds", [0.0, -1.0, 86401.0, float("inf"), float("nan")])
def test_seconds_have_limits(folder: LocalStore, seconds: float) -> None:
    with pytest.raises(
        ConfigError,
        match=r"checkpoints.lease_seconds is .*; expected more than 0 and at most 86400, or 0 for"
        " no lease",
    ):
        at_once(folder, seconds)


class Bucket:
    """A bucket that "refuses" conditions, "refuses If-Match", "ignores" them or "denies" all."""

    def __init__(self, does: str) -> None:
        self.does = does
        self.objects: dict[str, bytes] = {}

    def answer(self, request: Request) -> Answer:
        key, names = request.path.partition("?")[0], {name.lower() for name in request.headers}
        if request.method == "PUT":
            if self.does == "denies":
                return s3_error(403, "AccessDenied", "Access Denied.")
            if ("if-none-match" in names and self.does == "refuses") or (
                "if-match" in names and self.does.startswith("refuses")
            ):
                return s3_error(
                    501,
                    "NotImplemented",
                    "A header you provided implies functionality that is not implemented",
                )
            if "if-none-match" in names and self.does == "refuses If-Match" and key in self.objects:
                return s3_error(
                    412,
                    "PreconditionFailed",
                    "At least one of the pre-conditions you specified did not hold",
                )
            self.objects[key] = request.body
        elif request.method == "DELETE":
            self.objects.pop(key, None)
        elif "list-type" in request.path:
            return Answer(
                200,
                b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                b"</ListBucketResult>",
            )
        elif key not in self.objects:
            return (
                Answer(404)
                if request.method == "HEAD"
                else s3_error(404, "NoSuchKey", "No such key.")
            )
        return Answer(
            200,
            self.objects.get(key, b"") if request.method in ("GET", "HEAD") else b"",
            {"ETag": '"tag"'},
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "kind", "text"),
    [
        (
            "refuses",
            ConfigError,
            r"s3://bucket: the store refuses conditional writes and takes others"
            r" \(.*NotImplemented.*",
        ),
        (
            "refuses If-Match",
            ConfigError,
            "s3://bucket: the store refuses conditional writes and takes others",
        ),
        (
            "ignores",
            ConfigError,
            "s3://bucket: the store ignores the condition of a conditional write",
        ),
        ("denies", StorageError, "s3://bucket/lease.json: cannot write: access denied"),
    ],
)
def test_a_store_that_cannot_decide_is_refused(
    does: str, kind: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-servers-that-do-not-check")
    bucket = Bucket(does)
    with scripted_s3(bucket.answer) as server:
        store = S3Store(
            "s3://bucket",
            StorageSpec(endpoint_url=server.endpoint_url, region="us-east-1", max_attempts=1),
        )
        with pytest.raises(kind, match=text) as caught:
            at_once(store)
    assert ("checkpoints.lease_seconds to 0" in str(caught.value)) == (kind is ConfigError)
    assert bucket.objects == {}
