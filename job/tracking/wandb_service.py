"""A run at Weights & Biases, or in Trackio, whose ``init``, ``log`` and ``finish`` are the same."""

import contextlib
import importlib
import io
import os
import uuid
from collections.abc import Mapping
from typing import Any

import psutil
from PIL import Image

from job.tracking.service import Description, Service, Status

CORE = "wandb-core"
INIT_SECONDS = 30.0
FLUSH_SECONDS = 1.0  # a kill costs what W&B has not written, which may be its own default of 15 s
FINISH_SECONDS = 8.0  # for W&B's own process to send the rest; less than ``CLOSE_SECONDS``


class WandbService(Service):
    """One run of ``library`` at ``uri``; None: where the library's variables say. See ``Service``.

    Both libraries send in the background and keep what they could not send on this machine.
    """

    def __init__(self, library: str, uri: str | None, description: Description):
        self._library, self._uri, self._description = library, uri, description
        self._module: Any = None
        self._run: Any = None
        self._step = 0

    def begin(self, run_id: str | None) -> str:
        """Start the run; continue it if its id is known. Trackio knows a run by its name only."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._module = importlib.import_module(self._library)
        run_id = run_id or uuid.uuid4().hex[:8]
        project, name, settings, facts = self._description
        common = {"project": project, "config": {**settings, **facts}, "resume": "allow"}
        if self._library == "trackio":
            self._run = self._module.init(
                name=f"{name}-{run_id}",
                server_url=self._uri,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
                **common,
            )
        else:
            quiet = self._module.Settings(
                **({"base_url": self._uri} if self._uri else {}),
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                host="",
                # The metadata have the worker's command line, in which Ray puts a password.
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
                x_save_requirements=False,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            )
            self._run = self._module.init(
                id=run_id, name=name, allow_val_change=True, settings=quiet, **common
            )
        return run_id

    def log(self, step: int, time: float, values: Mapping[str, float]) -> None:
        self._log(step, dict(values))

    def log_grid(self, step: int, png: bytes) -> None:
        self._log(step, {"samples": self._module.Image(Image.open(io.BytesIO(png)))})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set W&B's summary, because it drops what is logged at a step that a run has passed."""
        if self._library == "trackio":
            self._log(self._step, dict(tags))
        else:
            self._run.summary.update(dict(tags))

    def end(self, status: Status) -> None:
        self.tag({"status": status})
        if self._library == "trackio":
            self._run.finish()
        else:
            self._run.finish(exit_code=int(status == "failed"))

    def abandon(self) -> None:
        """End W&B's own process, for which its exit handler would wait without a limit."""
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == CORE:
                    process.kill()

    def _log(self, step: int, values: dict[str, Any]) -> None:
        self._step = max(self._step, step)
        self._run.log(values, step=step)
