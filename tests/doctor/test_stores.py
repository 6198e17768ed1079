"""Every right that a policy can deny is found alone, and nothing is left behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job.config.spec import RunSpec
from job.doctor.check import Check
from job.doctor.stores import clock_check, clock_checks, data_checks, run_folder_checks
from job.storage.uri import open_store
from tests.run.test_lease import Bucket
from tests.servers.fault_proxy import FaultProxy, fault_proxy
from tests.servers.http_wire import Head
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import scripted_s3
from tests.training.planned import pack_512, spec_of

ALL = ("list", "write", "read", "ranged read", "conditional write", "multipart write", "delete")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def proxied(
    s3_env: S3Server, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FaultProxy, RunSpec]]:
    """A real server behind a proxy, with packed images and an empty run folder."""
    bucket = f"s3://{s3_env.new_bucket()}"
    for path in packed.iterdir():
        open_store(f"{bucket}/data").upload(path, path.name)
    with fault_proxy(s3_env.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
        spec = spec_of(packed, packed.parent / "run")
        yield (
            proxy,
            spec.replace(uri=f"{bucket}/run", data=spec.data.replace(uri=f"{bucket}/data")),
        )


def is_list(request: Head) -> bool:
    return request.word(0) == "GET" and "list-type=2" in request.word(1)


def is_plain_write(request: Head) -> bool:
    return request.word(0) == "PUT" and not is_conditional(request) and not is_in_parts(request)


def is_whole_read(request: Head) -> bool:
    return request.word(0) == "GET" and not is_list(request) and not request.header("Range")


def is_ranged_read(request: Head) -> bool:
    return request.word(0) == "GET" and bool(request.header("Range"))


def is_conditional(request: Head) -> bool:
    return bool(request.header("If-None-Match") or request.header("If-Match"))


def is_in_parts(request: Head) -> bool:
    return "uploads" in request.word(1) or "uploadId" in request.word(1)


def is_delete(request: Head) -> bool:
    return request.word(0) == "DELETE"


def deny(which: Callable[[Head], bool]) -> Callable[[Head], str | None]:
    return lambda request: "Access Denied" if which(request) else None


def names(checks: list[Check], state: str) -> list[str]:
    return [each.name for each in checks if each.state == state]


@pytest.mark.s3
def test_all_rights_are_there_and_nothing_is_left(proxied: tuple[FaultProxy, RunSpec]) -> None:
    _, spec = proxied
    found = [*run_folder_checks(spec), *clock_checks(spec), *data_checks(spec)]
    assert names(found, "ok") == [
        "run folder list",
        "run folder write",
        "checksums",
        *(f"run folder {name}" for name in ALL[2:]),
        "clock",
        "data list",
        "data index",
        "data ranged read",
    ]
    assert len(found) == len(names(found, "ok"))
    assert ("clock", "the same as the store's") in [(each.name, each.found) for each in found]
    assert "512 images 28x28x1" in found[-2].found
    assert list(open_store(spec.uri).list()) == []


@pytest.mark.s3
@pytest.mark.parametrize(
    ("which", "name", "permission"),
    [
        (is_list, "list", "s3:ListBucket"),
        (is_plain_write, "write", "s3:PutObject"),
        (is_whole_read, "read", "s3:GetObject"),
        (is_ranged_read, "ranged read", "s3:GetObject"),
        (is_conditional, "conditional write", "s3:PutObject"),
        (is_in_parts, "multipart write", "s3:PutObject and s3:AbortMultipartUpload"),
        (is_delete, "delete", "s3:DeleteObject"),
    ],
)
def test_each_right_is_found_alone(
    which: Callable[[Head], bool], name: str, permission: str, proxied: tuple[FaultProxy, RunSpec]
) -> None:
    proxy, spec = proxied
    proxy.denies = deny(which)
    found = list(run_folder_checks(spec))
    (error,) = [each for each in found if each.state == "error"]
    assert (error.name, error.exit_code) == (f"run folder {name}", 3)
    assert error.advice == f"allow these credentials {permission} on {spec.uri}"
    assert "access denied (AccessDenied" in error.found
    others = ["run folder other rights"] if name == "write" else []
    assert names(found, "warning") == others
    proxy.denies = lambda request: None
    assert (list(open_store(spec.uri).list()) == []) == (name != "delete")


@pytest.mark.s3
@pytest.mark.parametrize(
    ("which", "name"),
    [
        (is_list, "list"),
        (lambda request: "index.json" in request.path(), "index"),
        (lambda request: "/shard-" in request.path(), "ranged read"),
    ],
)
def test_each_right_on_the_images_is_found_alone(
    which: Callable[[Head], bool], name: str, proxied: tuple[FaultProxy, RunSpec]
) -> None:
    proxy, spec = proxied
    proxy.denies = deny(which)
    (error,) = [each for each in data_checks(spec) if each.state == "error"]
    assert error.name == f"data {name}"
    assert error.advice.endswith(f" on {spec.data.uri}")


@pytest.mark.s3
def test_a_store_that_refuses_checksums_is_reported_with_the_setting(
    proxied: tuple[FaultProxy, RunSpec],
) -> None:
    proxy, spec = proxied
    proxy.denies = deny(lambda request: bool(request.header("x-amz-sdk-checksum-algorithm")))
    found = {each.name: each for each in run_folder_checks(spec)}
    assert found["run folder write"].state == "error"
    assert found["checksums"].state == "error"
    assert found["checksums"].advice == "set storage.checksums: when_required"
    fixed = spec.replace(storage=spec.storage.replace(checksums="when_required"))
    after = {each.name: each for each in run_folder_checks(fixed)}
    assert (after["checksums"].state, after["checksums"].found) == (
        "ok",
        "when_required is set; the store refuses when_supported",
    )
    assert {each.state for each in after.values()} == {"ok"}
    proxy.denies = lambda request: None
    checks = {each.name: each.found for each in run_folder_checks(fixed)}
    assert checks["checksums"] == "when_required is set; the store accepts when_supported, too"


@pytest.mark.s3
def test_a_missing_bucket_is_an_error_of_the_store(s3_env: S3Server, packed: Path) -> None:
    spec = spec_of(packed, packed.parent / "run").replace(uri="s3://not-there/run")
    found = list(run_folder_checks(spec))
    assert "NoSuchBucket" in found[0].found
    assert "create it, or correct the URI" in found[0].advice
    assert {each.exit_code for each in found if each.state == "error"} == {3}


def test_a_server_that_does_not_respond_is_asked_once(
    packed: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    spec = spec_of(
        packed, packed.parent / "run", f"storage.endpoint_url=http://127.0.0.1:{free_port}"
    )
    spec = spec.replace(uri="s3://bucket/run")
    listed, others = run_folder_checks(spec)
    assert listed.found.startswith("s3://bucket/run: cannot list: cannot reach http://127.0.0.1:")
    assert others.found == "not checked: the store does not respond"
    assert next(clock_checks(spec)).found == "not checked: the store sent no date"


@pytest.mark.slow
@pytest.mark.parametrize("does", ["refuses", "refuses If-Match", "ignores"])
def test_a_store_without_conditional_writes(
    does: str, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with scripted_s3(Bucket(does).answer) as server:
        endpoint = [f"storage.endpoint_url={server.endpoint_url}", "storage.region=us-east-1"]
        spec = spec_of(packed, packed.parent / "run", *endpoint).replace(uri="s3://bucket")
        found = {each.name: each for each in run_folder_checks(spec)}
        without = spec.replace(checkpoints=spec.checkpoints.replace(lease_seconds=0.0))
        names_without = [each.name for each in run_folder_checks(without)]
    check = found["run folder conditional write"]
    assert (check.state, check.exit_code) == ("error", 2)
    assert check.found.startswith(f"s3://bucket: the store {does.split()[0]}")
    assert "set checkpoints.lease_seconds to 0" in check.advice
    assert "run folder conditional write" not in names_without


def test_a_file_in_place_of_the_run_folder(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(run_folder_checks(spec_of(packed, tmp_path / "file" / "run")))
    assert names(found, "error") == ["run folder list", "run folder write"]
    assert found[0].advice.startswith("a part of the path is a file; expected a folder")


def test_a_folder_gets_the_checks_of_a_folder(packed: Path, tmp_path: Path) -> None:
    spec = spec_of(packed, tmp_path / "run")
    found = [*run_folder_checks(spec), *clock_checks(spec)]
    assert names(found, "ok") == [f"run folder {each}" for each in ALL if "multipart" not in each]
    assert list(open_store(spec.uri).list()) == []


def test_a_wrong_data_uri_is_an_error_of_the_data(tmp_path: Path) -> None:
    listed, read = data_checks(spec_of(tmp_path / "none", tmp_path / "run"))
    assert listed.found.endswith("is empty")
    assert (read.state, read.exit_code) == ("error", 5)
    assert "data pack" in read.advice


@pytest.mark.parametrize(
    ("offset", "state", "found"),
    [
        (0.9, "ok", "the same as the store's"),
        (-30.0, "ok", "30 s behind the store's"),
        (61.0, "warning", "61 s ahead of the store's"),
        (-901.0, "error", "901 s behind the store's"),
    ],
)
def test_clocks_may_differ_by_less_than_a_signature_lives(
    offset: float, state: str, found: str
) -> None:
    assert clock_check(offset)[1:3] == (state, found)


def test_an_interrupted_check_leaves_nothing(packed: Path, tmp_path: Path) -> None:
    checks = run_folder_checks(spec_of(packed, tmp_path / "run"))
    while next(checks).name != "run folder write":
        pass
    assert list((tmp_path / "run").glob("doctor-*"))
    checks.close()
    assert not list((tmp_path / "run").glob("doctor-*"))
