"""One release of the chart in one namespace, as helm and kubectl show it.

release = Release(cluster, namespace, "dcgan-train")
release.install(values)
release.wait_for("SUCCEEDED", 900)
release.uninstall()
"""

import json
import logging
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.servers.tools import ROOT

T = TypeVar("T")
CHART = ROOT / "charts" / "dcgan-train"
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_POLL_SECONDS = 2.0  # kubectl is a process each time, on the cores that train
_LINES = 40

log = logging.getLogger("e2e")


@dataclass(frozen=True)
class Release:
    """A release of helm; all its objects carry ``name`` as a label."""

    cluster: Cluster
    namespace: str
    name: str

    def install(self, values: dict[str, Any]) -> None:
        log.info("%s: helm install", self.name)
        self._helm("install", self.name, str(CHART), "--values", "-", stdin=yaml.safe_dump(values))

    def upgrade(self, values: dict[str, Any]) -> None:
        log.info("%s: helm upgrade", self.name)
        self._helm("upgrade", self.name, str(CHART), "--values", "-", stdin=yaml.safe_dump(values))

    def uninstall(self) -> None:
        log.info("%s: helm uninstall", self.name)
        self._helm("uninstall", self.name)

    def render(self, values: dict[str, Any], template: str) -> str:
        """One template of the chart, as it would be installed."""
        return self._helm(
            "template",
            self.name,
            str(CHART),
            "--values",
            "-",
            "--show-only",
            template,
            stdin=yaml.safe_dump(values),
        )

    def test(self) -> str:
        """Return the output of `helm test` with its pod's log, or raise ``RuntimeError``."""
        return self._helm("test", self.name, "--logs", "--timeout", "5m", timeout=400)

    def rayjob(self) -> dict[str, Any]:
        """The one there is; an upgrade may leave two for a while."""
        (job,) = self.rayjobs()
        return job

    def rayjobs(self) -> list[dict[str, Any]]:
        return self._items("rayjob", f"app.kubernetes.io/instance={self.name}")

    def pods(self, component: str) -> list[str]:
        """Names of the pods of head, worker or submitter that are not going."""
        items = self._items(
            "pod", f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        )
        return sorted(
            item["metadata"]["name"]
            for item in items
            if "deletionTimestamp" not in item["metadata"]
        )

    def address(self, pod: str) -> str:
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")

    def logs(self, component: str, *options: str) -> str:
        """Return the latest log lines of its containers; none of one that has not started."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        try:
            return self.kubectl("logs", "-l", selector, "--tail=2000", "--all-containers", *options)
        except RuntimeError as error:
            if "is waiting to start" in str(error):
                return ""
            raise

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def wait_for(self, status: str, seconds: float) -> dict[str, Any]:
        """Wait for the RayJob to have this ``jobStatus``; fail early if it ends otherwise."""

        def found() -> dict[str, Any] | None:
            job = self.rayjob()
            state = job.get("status", {})
            has = state.get("jobStatus", "")
            if has in ENDED or state.get("jobDeploymentStatus") == "Failed":
                assert has == status, (
                    f"{job['metadata']['name']} is {has or 'not started'} "
                    f"({state.get('message')}); expected {status}"
                )
            return job if has == status else None

        return self.until(f"{self.name} to be {status}", found, seconds)

    def while_it_runs(self, what: str, ready: Callable[[], T | None], seconds: float) -> T:
        """``until``, which gives up once the RayJob has failed."""

        def still() -> T | None:
            for job in self.rayjobs():
                state = job.get("status", {})
                assert state.get("jobStatus") != "FAILED", (
                    f"{job['metadata']['name']} has failed: {state.get('message')}"
                )
            return ready()

        return self.until(what, still, seconds)

    def until(self, what: str, ready: Callable[[], T | None], seconds: float) -> T:
        """Return the first true answer of ``ready``; on failure show this release's objects."""
        started = time.monotonic()
        try:
            while not (answer := ready()):
                if time.monotonic() - started > seconds:
                    raise AssertionError(
                        f"waited {seconds:.0f} s for {what}; the last answer was {answer!r}"
                    )
                time.sleep(_POLL_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.evidence()}") from None
        log.info("%s: after %.0f s", what, time.monotonic() - started)
        return answer

    def evidence(self) -> str:
        """Return what one would check by hand."""
        commands = [
            ("get", "pods", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("get", "rayjob", "-o", "yaml"),
        ]
        commands += [
            (
                "logs",
                "-l",
                f"app.kubernetes.io/component={component}",
                f"--tail={_LINES}",
                "--prefix",
                "--all-containers",
            )
            for component in ("submitter", "head", "worker")
        ]
        shown = []
        for command in commands:
            try:
                shown.append(f"$ kubectl {' '.join(command)}\n{self.kubectl(*command)[-6000:]}")
            except RuntimeError as error:
                shown.append(str(error))
        return "\n".join(shown)

    def _items(self, kind: str, selector: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, "-l", selector, "-o", "json")
        )["items"]
        return items

    def _helm(self, command: str, *arguments: str, stdin: str = "", timeout: float = 120.0) -> str:
        line = ["helm", command, *arguments, "--namespace", self.namespace]
        done = subprocess.run(
            line,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=os.environ | self.cluster.env(),
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(line)} ended with {done.returncode}: "
                f"{done.stderr.strip()}\n{done.stdout}"
            )
        return done.stdout
