"""Images of a few files, and the addresses of clusters."""

import hashlib
import io
import ipaddress
import json
import tarfile
from pathlib import Path

from tests.e2e.cluster.images import File, Link, write_image
from tests.e2e.cluster.plan import Plan


def test_an_image_is_the_same_bytes_each_time_and_names_its_layer_by_digest(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh")
    archives = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for archive in archives:
        write_image(
            archive,
            "localhost/program:1",
            {"/bin/program": File(program), "/bin/alias": Link("program")},
            ["/bin/program"],
        )
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        files = {
            member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
        }
    (image,) = json.loads(files["manifest.json"])
    layer = files[image["Layers"][0]]
    assert image["RepoTags"] == ["localhost/program:1"]
    assert json.loads(files[image["Config"]])["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(layer).hexdigest()}"
    ]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert {member.name: (member.mode, member.linkname) for member in tar} == {
            "tmp": (0o1777, ""),
            "bin/program": (0o755, ""),
            "bin/alias": (0o777, "program"),
        }


def test_clusters_share_no_address() -> None:
    plans = [Plan(number) for number in range(1, 251)]
    networks = [
        ipaddress.ip_network(network)
        for plan in plans
        for network in (plan.pods, plan.services, f"{plan.host_address[:-2]}.0/24")
    ]
    assert len(set(networks)) == 3 * len(plans)  # all of one size, so two are either equal or apart
    assert all(
        ipaddress.ip_address(plan.dns_address) in ipaddress.ip_network(plan.services)
        for plan in plans
    )
    assert all(
        len(f"{plan.name}n") <= 15 for plan in plans
    )  # the kernel's limit for the name of a link
