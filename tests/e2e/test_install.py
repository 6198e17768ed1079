"""A real install: chart, image, KubeRay's operator, two workers, a store. Cheapest tests first.

Every pod below was admitted by a namespace that enforces the *restricted* standard.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.release import Release
from tests.e2e.run import Run
from tests.e2e.scraping import connects, monitored, own_address
from tests.servers.prometheus import Prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
log = logging.getLogger("e2e")

START_SECONDS = (
    900.0  # for pods, Ray, and a first checkpoint, where every process has half a busy core
)
END_SECONDS = 1200.0
GONE_SECONDS = 300.0
DASHBOARD_PORT = 8265  # and Ray's API of jobs

Releases = Callable[[str], Release]


def test_an_install_trains_to_its_end(
    cluster: Cluster, release: Releases, run: Run, image: dict, images: str, tmp_path: Path
) -> None:
    """And is tested, scraped, closed to everybody else, and leaves nothing when it is uninstalled.

    Scraped only from a machine that can reach pods; one far from a cluster of KUBECONFIG cannot.
    """
    steps = 200
    address = own_address(cluster)
    assert address or not cluster.is_own
    first = release("dcgan-train")
    before = _everything(first)
    values = run.values(images, image, steps=steps, every_steps=100)
    if address:
        values["networkPolicy"] = {"monitoring": [{"ipBlock": {"cidr": f"{address}/32"}}]}
    first.install(values)
    first.wait_for("RUNNING", START_SECONDS)
    workers = first.pods("worker")
    assert len(workers) == 2
    if cluster.is_own:  # of another one it is not known whether it keeps policies
        (head,) = first.pods("head")
        with pytest.raises(ConnectionRefusedError):
            connects(first.address(head), DASHBOARD_PORT)
    if address:
        with monitored(cluster, _pod_monitor(first, values), tmp_path) as prometheus:
            first.while_it_runs(
                "the metrics of both workers",
                lambda: _is_scraped(prometheus, workers),
                START_SECONDS,
            )
            first.wait_for("SUCCEEDED", END_SECONDS)
            last = {
                series.labels["pod"]: series.value
                for series in prometheus.query("max_over_time(dcgan_step[1h])")
            }
            assert last == dict.fromkeys(workers, steps)
            assert {
                series.labels["app_kubernetes_io_instance"]
                for series in prometheus.query("max_over_time(up[1h])")
            } == {"dcgan-train"}
    first.wait_for("SUCCEEDED", END_SECONDS)
    assert [(manifest.step, manifest.reason) for manifest in run.committed()] == [
        (200, "end"),
        (100, "schedule"),
    ]
    assert run.verify() == "step 200: ok\nstep 100: ok\n"
    grids = [entry.key for entry in run.objects.list("samples/step-")]
    assert grids == [f"samples/step-{step:09d}.png" for step in (0, 100, 200)]
    (tmp_path / "grid.png").write_bytes(run.objects.read(grids[-1]))
    log.info("the last grid: %s", tmp_path / "grid.png")
    tested = first.test()
    assert f"finished at step {steps}: train would only print its results" in tested
    assert "this run would start: " in tested
    first.uninstall()
    first.until("nothing to be left", lambda: _everything(first) == before, GONE_SECONDS)


def test_workers_that_die_or_are_evicted_are_replaced(
    release: Releases, run: Run, image: dict, images: str
) -> None:
    """A death loses the steps since the last checkpoint, an eviction none: Ray gets SIGTERM."""
    first = release("dcgan-train")
    first.install(run.values(images, image, steps=500, every_steps=50))
    first.while_it_runs("a checkpoint", lambda: run.step() >= 50, START_SECONDS)
    assert len(run.starts()) == 1
    # All processes but the first, which a container cannot kill; it ends without them, and
    # kubelet restarts the container.
    first.kubectl(
        "exec", first.pods("worker")[0], "-c", "ray-worker", "--", "bash", "-c", "kill -KILL -1"
    )
    first.while_it_runs("an attempt after the death", lambda: len(run.starts()) == 2, START_SECONDS)
    died_at = run.step()
    first.while_it_runs("a checkpoint after that", lambda: run.step() > died_at, START_SECONDS)
    assert set(_reasons(run)) == {"schedule"}
    evicted, stayed = first.pods("worker")
    _evict(first, evicted)
    first.while_it_runs(
        "a checkpoint because of the eviction", lambda: "preemption" in _reasons(run), 120
    )
    first.while_it_runs(
        "an attempt after the eviction", lambda: len(run.starts()) == 3, START_SECONDS
    )
    workers = first.pods("worker")
    assert stayed in workers
    assert evicted not in workers
    first.wait_for("SUCCEEDED", END_SECONDS)
    assert (run.committed()[0].step, run.committed()[0].reason) == (500, "end")
    run.verify()


def test_what_cannot_run_says_why_and_ends(
    release: Releases, run: Run, image: dict, images: str, namespace: str
) -> None:
    """No bucket, and a key that may not read: both at once, with one small worker each."""
    run.store.keys(namespace, "stranger", run.store.server.new_user())
    values = run.values(images, image, steps=100, every_steps=50) | _SMALL
    nowhere, denied = release("nowhere"), release("denied")
    nowhere.install(values | {"run": values["run"] | {"uri": "s3://no-such-bucket/one"}})
    denied.install(values | {"credentials": {"existingSecret": "stranger"}})
    _ends_with(nowhere, "there is no bucket 'no-such-bucket'")
    _ends_with(denied, "access denied")


def test_an_upgrade_resumes_from_the_last_checkpoint(
    release: Releases, run: Run, image: dict, images: str
) -> None:
    """And uninstalling a run that trains leaves nothing in the cluster."""
    first = release("first")
    before = _everything(first)
    values = run.values(images, image, steps=5000, every_steps=50)
    first.install(values)
    first.while_it_runs("a checkpoint", lambda: run.step() >= 50, START_SECONDS)
    old = first.rayjob()["metadata"]["name"]
    first.upgrade(values | {"run": values["run"] | {"samples": {"every_steps": 500}}})
    # The old object is deleted at once, its pods after the stop.
    first.until(
        "the old run's last checkpoint", lambda: "preemption" in _reasons(run), GONE_SECONDS
    )
    stopped = run.step()
    assert first.rayjob()["metadata"]["name"] != old
    first.while_it_runs(
        "the new run to resume",
        lambda: f"resuming from step {stopped:,}" in first.logs("submitter"),
        START_SECONDS,
    )
    first.uninstall()
    first.until("nothing to be left", lambda: _everything(first) == before, GONE_SECONDS)
    run.verify()


def test_a_second_install_on_the_run_folder_is_refused(
    release: Releases, run: Run, image: dict, images: str
) -> None:
    """Small, so that both find room; the first one continues."""
    first, second = release("first"), release("second")
    values = run.values(images, image, steps=5000, every_steps=1000) | _SMALL
    first.install(values)
    first.while_it_runs(
        "a run that holds its folder", lambda: run.objects.stat("lease.json"), START_SECONDS
    )
    second.install(values | {"run": values["run"] | {"checkpoints": {"lease_wait_seconds": 5}}})
    _ends_with(second, "another job trains into this run folder")
    assert first.rayjob()["status"]["jobStatus"] == "RUNNING"


# Two of them fit on two cores, beside the store and the operator.
_SMALL: dict[str, Any] = {
    "workers": {"count": 1, "cpus": 0.25, "memory": "2Gi", "scratchGiB": 1},
    "head": {"cpus": 0.35, "memory": "3Gi", "scratchGiB": 1},
    "submitter": {"cpus": 0.15},
}


def _ends_with(release: Release, message: str) -> None:
    """Check that the RayJob fails in minutes, with ``message`` in its description and log."""
    job = release.wait_for("FAILED", START_SECONDS)
    assert message in release.kubectl("describe", "rayjob", job["metadata"]["name"])
    release.until(
        f"{message!r} in the submitter's log, which follows the job's",
        lambda: message in release.logs("submitter"),
        60,
    )


def _reasons(run: Run) -> list[str]:
    return [manifest.reason for manifest in run.committed()]


def _evict(release: Release, pod: str) -> None:
    """Evict a pod as a node drain does: SIGTERM, and the pod's own grace period."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": release.namespace},
    }
    release.kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{release.namespace}/pods/{pod}/eviction",
        "-f",
        "-",
        stdin=json.dumps(eviction),
    )


def _pod_monitor(release: Release, values: dict) -> dict[str, Any]:
    """As the chart makes it for this release; the kind need not be known to the cluster."""
    text = release.render(
        values | {"monitoring": {"podMonitor": {"enabled": True}}}, "templates/podmonitor.yaml"
    )
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _is_scraped(prometheus: Prometheus, pods: list[str]) -> bool:
    return sorted(series.labels["pod"] for series in prometheus.query("dcgan_step > 0")) == pods


def _everything(release: Release) -> set[str]:
    """Return every object in the namespace but events, which stay for an hour."""
    kinds = release.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    wanted = ",".join(kind for kind in kinds if not kind.startswith("events"))
    return set(release.kubectl("get", wanted, "-o", "name").split())
