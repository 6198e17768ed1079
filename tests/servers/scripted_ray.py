"""The job API of a Ray dashboard, with jobs that print and end by script.

A real head takes half a minute to start and ends no job on request with a given code;
tests/launch/test_ray_job.py has one.

with scripted_ray() as ray:
    ray.jobs["first"] = Job(["step 1\\n", "step 2\\n"], status="FAILED", exit_code=3)
    ...ray.url...
"""

import asyncio
import io
import threading
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

POLL_SECONDS = 0.02
STOP_LINE = "stopped; the last checkpoint is step 50; the same command resumes from there\n"


@dataclass
class Job:
    """A job whose log is ``pieces``. After the last one it has ``status``; None: it runs on.

    The first ``num_breaks`` connections to its log break after ``breaks_after`` pieces.
    """

    pieces: list[str]
    status: str | None = "SUCCEEDED"
    exit_code: int | None = 0
    message: str = ""
    type: str = "SUBMISSION"
    breaks_after: int | None = None
    num_breaks: int = 1
    request: dict[str, Any] = field(default_factory=dict)
    start_time: int = 1_767_225_600_000
    has_ended: bool = False
    num_connections: int = 0

    def details(self, name: str) -> dict[str, Any]:
        return {
            "type": self.type,
            "submission_id": name,
            "status": self.status if self.has_ended else "RUNNING",
            "entrypoint": "python -m job train",
            "start_time": self.start_time,
            "end_time": self.start_time + 3_725_000 if self.has_ended else None,
            "driver_exit_code": self.exit_code if self.has_ended else None,
            "message": self.message,
        }


@dataclass
class ScriptedRay:
    """The server's jobs and uploads. ``status`` is the answer to each request if it is set."""

    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    packages: list[bytes] = field(default_factory=list)
    status: int | None = None
    text: str = ""
    num_without_agent: int = 0
    """Requests to submit that are refused, as by a new head node."""

    def files(self) -> list[dict[str, bytes]]:
        """Return the uploaded packages as files by name."""
        return [
            {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
            for archive in (zipfile.ZipFile(io.BytesIO(package)) for package in self.packages)
        ]

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": "2.60.0", "ray_commit": "x"})

    async def has_package(self, request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def upload(self, request: web.Request) -> web.Response:
        self.packages.append(await request.read())
        return web.Response()

    async def submit(self, request: web.Request) -> web.Response:
        if self.num_without_agent:
            self.num_without_agent -= 1
            text = "No available agent to submit job, please try again later."
            return web.Response(status=500, text=text)
        asked = await request.json()
        self.jobs[asked["submission_id"]] = Job(["trained\n"], request=asked)
        return web.json_response(
            {"job_id": asked["submission_id"], "submission_id": asked["submission_id"]}
        )

    async def list(self, request: web.Request) -> web.Response:
        return web.json_response([job.details(name) for name, job in self.jobs.items()])

    async def details(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response(self._job(request).details(name))

    async def logs(self, request: web.Request) -> web.Response:
        return web.json_response({"logs": "".join(self._job(request).pieces)})

    async def stop(self, request: web.Request) -> web.Response:
        job = self._job(request)
        job.pieces.append(STOP_LINE)
        job.status, job.exit_code, job.has_ended = "STOPPED", None, True
        return web.json_response({"stopped": True})

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        job, socket = self._job(request), web.WebSocketResponse()
        await socket.prepare(request)
        job.num_connections += 1
        for number, piece in enumerate(job.pieces):
            if job.num_connections <= job.num_breaks and number == job.breaks_after:
                assert request.transport is not None
                request.transport.abort()
                return socket
            await socket.send_str(piece)
        while job.status is None:
            await asyncio.sleep(POLL_SECONDS)
        job.has_ended = True
        return socket

    def _job(self, request: web.Request) -> Job:
        name = request.match_info["name"]
        if name not in self.jobs:
            raise web.HTTPNotFound(text=f"Job {name} does not exist")
        return self.jobs[name]


@contextmanager
def scripted_ray() -> Iterator[ScriptedRay]:
    """Serve meanwhile, in a thread, on a free port of loopback."""
    ray = ScriptedRay()

    @web.middleware
    async def by_script(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if ray.status is None:
            return await handler(request)
        return web.Response(status=ray.status, text=ray.text)

    app = web.Application(middlewares=[by_script], client_max_size=2**26)
    app.add_routes(
        [
            web.get("/api/version", ray.version),
            web.get("/api/packages/{protocol}/{package}", ray.has_package),
            web.put("/api/packages/{protocol}/{package}", ray.upload),
            web.post("/api/jobs/", ray.submit),
            web.get("/api/jobs/", ray.list),
            web.get("/api/jobs/{name}", ray.details),
            web.get("/api/jobs/{name}/logs", ray.logs),
            web.get("/api/jobs/{name}/logs/tail", ray.tail),
            web.post("/api/jobs/{name}/stop", ray.stop),
        ]
    )
    loop, runner = asyncio.new_event_loop(), web.AppRunner(app, shutdown_timeout=1.0)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ray.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ray
    finally:
        for job in ray.jobs.values():
            job.status = job.status or "STOPPED"  # ends the connections to its log
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
