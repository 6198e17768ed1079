"""A cluster gives back what it takes from this machine."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cluster import namespaces
from tests.e2e.cluster.plan import Plan

pytestmark = pytest.mark.e2e

_CGROUPS = Path("/sys/fs/cgroup")


def _traces(plan: Plan) -> list[str]:
    """Links, routes and cgroups that are there now."""
    routes = subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout
    found = re.findall(rf"^.* dev {plan.name}\b.*$", routes, re.MULTILINE)
    folders = [
        Path("/sys/class/net", plan.name),
        _CGROUPS / plan.name,
        *_CGROUPS.glob(f"*/{plan.name}"),
    ]
    return found + [str(folder) for folder in folders if folder.exists()]


def test_nothing_is_left_where_a_node_does_not_come_up(tmp_path: Path) -> None:
    """Here a file is in the way of a folder that the node wants to make."""
    if os.environ.get("DCGAN_E2E") != "1" or os.geteuid() != 0:
        pytest.skip("makes namespaces, links and cgroups: set DCGAN_E2E=1, as root")
    (tmp_path / "logs").touch()
    before: list[str] = []
    plans: list[Plan] = []

    def come_up() -> None:
        with namespaces.link() as plan, namespaces.cgroups(plan):
            plans.append(plan)
            before.extend(_traces(plan))
            with namespaces.node(plan, tmp_path):
                pass

    with pytest.raises(RuntimeError, match=r"the node did not come up(.|\n)*FileExistsError"):
        come_up()
    assert len(before) >= 3  # a link, its route, a cgroup or one in each hierarchy
    assert _traces(plans[0]) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
