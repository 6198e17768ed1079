"""The node from inside: ``python -m tests.e2e.cluster.node FOLDER NUMBER`` in fresh namespaces.

It makes files and network look like a separate machine, starts the programs in order, writes
FOLDER/ready, and stays.
When a program ends it reports that and ends too; the kernel then ends all pods.
"""

import os
import resource
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click
import yaml

from tests.e2e.cluster import configs, programs
from tests.e2e.cluster.images import File, write_image
from tests.e2e.cluster.plan import NODE_FOLDER, NODE_NAME, Plan
from tests.servers.process import server_process
from tests.servers.tools import BIN

_START_SECONDS = 240.0  # on two cores that are busy with other tests
_LOGS = NODE_FOLDER / "logs"
# kubelet would set these for the whole machine; these files say that it is done.
_KERNEL = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))  # Debian's folder, and everybody else's


def main() -> None:
    plan = Plan(int(sys.argv[2]))
    _own_files(Path(sys.argv[1]))
    _own_network(plan)
    _write_configs(plan)
    _run("kubeadm", "init", "phase", "certs", "all", "--config", NODE_FOLDER / "kubeadm.yaml")
    _write_kubeconfigs()
    with ExitStack() as running:
        started = {
            "containerd": _started(programs.containerd(), running),
            "etcd": _started(programs.etcd(), running),
        }
        _import_pause()
        for program in (programs.api_server(plan), *programs.after_api_server(plan)):
            started[program.name] = _started(program, running)
        (NODE_FOLDER / "ready").touch()
        _watch(started)


def _own_files(folder: Path) -> None:
    """Hide /run, /var/log and /var/lib, into which programs write; nothing of it stays."""
    for name in ("logs", "cni", "kernel", "var-log", "run"):
        (folder / name).mkdir()
    for name, value in _KERNEL.items():
        file = folder / "kernel" / name.replace("/", "-")
        file.write_text(f"{value}\n")
        _run("mount", "--bind", file, Path("/proc/sys") / name)
    _run("mount", "--bind", folder / "var-log", "/var/log")
    run = folder / "run"
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", run)
    (run / NODE_FOLDER.name).mkdir()
    _run("mount", "--bind", folder, run / NODE_FOLDER.name)
    _run("mount", "--no-mtab", "--move", run, "/run")  # its table of mounts is under /run
    upper, work = Path("/run/var-lib/upper"), Path("/run/var-lib/work")
    for layer in (upper, work):
        layer.mkdir(parents=True)
    # Not an empty folder: this checkout may be below it.
    _run(
        "mount",
        "-t",
        "overlay",
        "-o",
        f"lowerdir=/var/lib,upperdir={upper},workdir={work}",
        "overlay",
        "/var/lib",
    )
    _run("hostname", NODE_NAME)


def _own_network(plan: Plan) -> None:
    """Set up this end of the link. It leads only to this machine: the rest fails at once."""
    deadline = time.monotonic() + _START_SECONDS
    while not Path("/proc/sys/net/ipv4/conf/eth0").exists():
        assert time.monotonic() < deadline, (
            "no eth0: this machine has not given the node its end of the link"
        )
        time.sleep(0.02)
    _run("ip", "address", "add", f"{plan.node_address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        _run("ip", "link", "set", device, "up")
    for name in (
        "ipv4/ip_forward",
        "ipv4/conf/all/route_localnet",
        "bridge/bridge-nf-call-iptables",
    ):
        Path("/proc/sys/net", name).write_text("1")


def _write_configs(plan: Plan) -> None:
    version = _run("kubeadm", "version", "--output", "short").strip()
    plugins = next(folder for folder in _PLUGINS if (folder / "bridge").exists())
    num_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    (NODE_FOLDER / "kubeadm.yaml").write_text(yaml.safe_dump_all(configs.kubeadm(plan, version)))
    (NODE_FOLDER / "containerd.toml").write_text(configs.containerd(plugins))
    (NODE_FOLDER / "cni" / "pods.conflist").write_text(configs.network(plan))
    (NODE_FOLDER / "kubelet.yaml").write_text(yaml.safe_dump(configs.kubelet(plan, num_files)))
    (NODE_FOLDER / "kube-proxy.yaml").write_text(yaml.safe_dump(configs.kube_proxy(plan)))
    (NODE_FOLDER / "resolv.conf").touch()


def _write_kubeconfigs() -> None:
    phase = ("kubeadm", "init", "phase", "kubeconfig")
    _run(*phase, "all", "--config", NODE_FOLDER / "kubeadm.yaml", "--kubeconfig-dir", NODE_FOLDER)
    user = _run(
        "kubeadm",
        "kubeconfig",
        "user",
        "--config",
        NODE_FOLDER / "kubeadm.yaml",
        "--client-name",
        "system:kube-proxy",
    )
    (NODE_FOLDER / "kube-proxy.conf").write_text(user)


def _import_pause() -> None:
    archive = NODE_FOLDER / "pause.tar"
    write_image(
        archive,
        configs.PAUSE_IMAGE,
        {"/pause": File(BIN / "pause")},
        ["/pause"],
        user="65535:65535",
    )
    _run(
        "ctr",
        "--address",
        configs.CONTAINERD_SOCKET,
        "--namespace",
        "k8s.io",
        "image",
        "import",
        archive,
    )


def _started(program: programs.Program, running: ExitStack) -> subprocess.Popen[bytes]:
    started = time.monotonic()
    log = _LOGS / f"{program.name}.log"
    server = server_process(
        program.command,
        lambda: _healthy(program.health),
        log,
        env=_environment(),
        ready_seconds=_START_SECONDS,
    )
    process = running.enter_context(server)
    click.echo(f"{program.name}: up in {time.monotonic() - started:.1f} s")
    return process


def _watch(started: dict[str, subprocess.Popen[bytes]]) -> NoReturn:
    while True:
        for name, process in started.items():
            if process.poll() is not None:
                end = (_LOGS / f"{name}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(
                    f"{name} ended with {process.returncode}, and with it the node:\n{end}"
                )
        time.sleep(0.5)


def _healthy(health: str) -> bool:
    """Certificates are not looked at: this only asks whether something answers."""
    try:
        if health.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(health)
            return True
        context = ssl._create_unverified_context()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(health, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        timeout=120,
    )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr}"
        )
    return done.stdout


def _environment() -> dict[str, str]:
    """Proxies of this machine must not be asked for the cluster's own addresses."""
    kept = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    return kept | {
        "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "HOME": str(NODE_FOLDER),
    }


if __name__ == "__main__":
    main()
