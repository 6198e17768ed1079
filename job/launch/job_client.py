"""Ray's job API: submit a run to a cluster, follow its log, stop it, list the jobs.

The client talks HTTP to the dashboard, so it needs no Ray cluster on this machine and no access to
the cluster's other ports. Ray's own client finds the token (docs/security.md).
"""

import asyncio
import contextlib
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient, JobType

import job
from job.config.errors import ConfigError
from job.config.load import to_yaml
from job.config.spec import RunSpec

CONFIG = "run.yaml"
ENTRYPOINT = f"python -m job train --config {CONFIG}"
TIMEOUTS = (10.0, 60.0)  # seconds to connect, and to wait for more of a response
POLL_SECONDS = 1.0
NO_AGENT, AGENT_SECONDS = "No available agent", 60.0
# A connection that a firewall or a lost host cut silently is opened again after this time.
QUIET_SECONDS = 120.0
# A driver that saved its last checkpoint still ends its workers and leaves the cluster.
LEAVE_SECONDS = 35


class Job(NamedTuple):
    """One submitted job. ``exit_code`` is the driver's, None if Ray does not know it."""

    id: str
    status: str
    has_ended: bool
    started: datetime | None
    ended: datetime | None
    exit_code: int | None
    message: str


def runtime_env(folder: str, spec: RunSpec) -> dict[str, Any]:
    """Return what Ray uploads and sets for the job whose configuration is in ``folder``.

    The program is uploaded, too: the version that checked the configuration trains with it.

    Ray kills a job 3 s after a stop request. Its supervisor runs in this environment, so it gets
    the run's grace period without a setting on the head node.
    """
    wait_seconds = math.ceil(spec.checkpoints.grace_seconds) + LEAVE_SECONDS
    return {
        "working_dir": folder,
        "py_modules": [str(Path(job.__file__).parent)],
        "excludes": ["__pycache__"],
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(wait_seconds)},
    }


class JobClient:
    """The jobs of the cluster whose dashboard is at ``address``, an http(s) URL.

    Every method raises ``ConfigError`` if the cluster does not respond, refuses the token or does
    not know the job.
    """

    def __init__(self, address: str):
        self._address = address
        # Ray's client prefers its variables to its argument; here --address wins.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # its loggers report each upload and each connection
        with self._errors():
            self._client = _Client(address)

    def submit(self, spec: RunSpec, job_id: str) -> None:
        """Start a job that trains ``spec``; upload only the configuration and the program.

        The dashboard of a new head node responds some seconds before the agent that starts jobs.
        """
        deadline = time.monotonic() + AGENT_SECONDS
        with tempfile.TemporaryDirectory() as folder, self._errors():
            Path(folder, CONFIG).write_text(to_yaml(spec), encoding="utf-8")
            while True:
                try:
                    self._client.submit_job(
                        entrypoint=ENTRYPOINT,
                        submission_id=job_id,
                        runtime_env=runtime_env(folder, spec),
                    )
                    return
                except _Refused as error:
                    if NO_AGENT not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(POLL_SECONDS)

    def jobs(self) -> list[Job]:
        """Return the submitted jobs, oldest first; drivers that joined by themselves are none."""
        with self._errors():
            found = self._client.list_jobs()
        jobs = [_job(details) for details in found if details.type is JobType.SUBMISSION]
        return sorted(jobs, key=lambda job: job.started or datetime.min.replace(tzinfo=UTC))

    def job(self, job_id: str) -> Job:
        """Return the present state of a job."""
        with self._errors(job_id):
            return _job(self._client.get_job_info(_quoted(job_id)))

    def log(self, job_id: str) -> str:
        """Return the output of a job's driver so far."""
        with self._errors(job_id):
            return self._client.get_job_logs(_quoted(job_id))

    def stop(self, job_id: str) -> Job:
        """Send SIGTERM to a job that runs, wait until it has ended, and return its state."""
        if not self.job(job_id).has_ended:
            with self._errors(job_id):
                self._client.stop_job(_quoted(job_id))
        while not (found := self.job(job_id)).has_ended:
            time.sleep(POLL_SECONDS)
        return found

    def follow(self, job_id: str, show: Callable[[str], None]) -> Job:
        """Pass each line of the log to ``show`` until the job has ended; return its state.

        If the connection is lost, connect again and skip what was shown; of a job that has ended,
        once.
        """
        lines, had_ended = _Lines(show), False
        self.job(job_id)  # raises ConfigError if there is no such job
        while True:
            lost = asyncio.run(self._tail(job_id, lines))
            try:
                found = self.job(job_id)
            except ConfigError as error:
                raise ConfigError(f"{job_id} may still run, but {error}") from error
            if found.has_ended and (had_ended or not lost):
                lines.end()
                if lost:
                    show(f"[the rest of the log cannot be read: {lost}]")
                return found
            had_ended = found.has_ended
            time.sleep(POLL_SECONDS)

    async def _tail(self, job_id: str, lines: "_Lines") -> str:
        """Read the log from its beginning; return why it broke off, or an empty string."""
        lines.restart()
        stream = self._client.tail_job_logs(_quoted(job_id))
        try:
            while True:
                lines.add(await asyncio.wait_for(anext(stream), QUIET_SECONDS))
        except StopAsyncIteration:
            return ""
        except (RuntimeError, OSError, aiohttp.ClientError, TimeoutError) as error:
            return str(error) or type(error).__name__
        finally:
            await stream.aclose()

    @contextlib.contextmanager
    def _errors(self, job_id: str = "") -> Iterator[None]:
        """Turn an error of Ray's client or of HTTP into ``ConfigError``."""
        try:
            yield
        except AuthenticationError as error:
            reason = error.message.splitlines()[0].rstrip(".")
            raise ConfigError(
                f"{self._address}: {reason}; expected the cluster's token: set RAY_AUTH_MODE=token,"
                " and RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
            ) from error
        except _Refused as error:
            if error.status == requests.codes.not_found and job_id:
                raise ConfigError(
                    f"{job_id}: no such job at {self._address}; `dcgan-train jobs list` shows their"
                    " ids"
                ) from error
            raise ConfigError(f"{self._address}: {error}") from error
        except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
            raise ConfigError(
                f"{self._address}: no Ray dashboard responds; expected that of a running head node."
                " If it listens on the head node only, forward its port: `ssh -L"
                " 8265:127.0.0.1:8265 HEAD`, and --address http://127.0.0.1:8265"
            ) from error
        except (requests.RequestException, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self._address}: responds, but not as the dashboard of a Ray cluster"
                f" ({type(error).__name__}); expected http://HEAD:8265"
            ) from error


class _Refused(Exception):
    """An HTTP status other than 200."""

    def __init__(self, status: int, text: str):
        lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
        reason = lines[-1] if lines else "no reason given"  # of a traceback, the last line
        super().__init__(f"the request failed with status {status}: {reason}")
        self.status = status


class _Client(JobSubmissionClient):
    """Ray's client with time limits, and with the status of a failed request (Ray 2.60)."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=TIMEOUTS, **options)

    def _raise_error(self, r: requests.Response) -> None:
        raise _Refused(r.status_code, r.text)


class _Lines:
    """Whole lines from pieces of a log that may begin again."""

    def __init__(self, show: Callable[[str], None]):
        self._show, self._rest = show, ""
        self._num_seen = self._num_skipped = 0

    def restart(self) -> None:
        """Expect the log from its beginning again."""
        self._num_skipped = self._num_seen

    def add(self, piece: str) -> None:
        skipped = min(self._num_skipped, len(piece))
        self._num_skipped -= skipped
        self._num_seen += len(piece) - skipped
        *lines, self._rest = (self._rest + piece[skipped:]).split("\n")
        for line in lines:
            self._show(line)

    def end(self) -> None:
        """Show a last line without a line break."""
        if self._rest:
            self._show(self._rest)


def _quoted(job_id: str) -> str:
    """Return an id for Ray's client, which puts it into a URL; raise ``ConfigError`` if it cannot.

    ``.`` and ``..`` would be another page.
    """
    if not job_id.strip("."):
        raise ConfigError(
            f"the job's id is {job_id!r}; expected one that `dcgan-train jobs list` shows"
        )
    return quote(job_id, safe="")


def _job(details: JobDetails) -> Job:
    return Job(
        details.submission_id or details.job_id or "",
        details.status.value.lower(),
        details.status.is_terminal(),
        _time(details.start_time),
        _time(details.end_time),
        details.driver_exit_code,
        details.message or "",
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
