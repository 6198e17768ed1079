"""The contract of ``ObjectStore``, on a folder and on real S3 servers, with and without TLS."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.store import PIECE_BYTES, ObjectMissing, ObjectStore
from job.storage.uri import open_store
from tests.servers.s3 import S3Server, s3_server

OpenStore = Callable[[str], ObjectStore]
LARGE_BYTES = 40 * 1024 * 1024 + 7  # three parts on S3, the last one odd


@pytest.fixture(scope="module")
def tls_server() -> Iterator[S3Server]:
    with s3_server(tls=True) as server:
        yield server


@pytest.fixture(
    params=["file", *(pytest.param(name, marks=pytest.mark.s3) for name in ("s3", "s3 over tls"))]
)
def open_at(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> OpenStore:
    """Opens stores at paths below one empty place."""
    if request.param == "file":
        return lambda path: open_store(f"file://{tmp_path}/store/{path}")
    name = "s3_server" if request.param == "s3" else "tls_server"
    server: S3Server = request.getfixturevalue(name)
    server.enter(monkeypatch)
    bucket = server.new_bucket()
    # This server misreads a request that follows an upload with checksums over TLS.
    spec = StorageSpec(checksums="when_supported" if name == "s3_server" else "when_required")
    return lambda path: open_store(f"s3://{bucket}/{path}", spec)


@pytest.fixture
def store(open_at: OpenStore) -> ObjectStore:
    return open_at("runs/one")


def streamed(store: ObjectStore, key: str, start: int, num_bytes: int) -> bytes:
    pieces: list[bytes] = []
    store.stream(key, start, num_bytes, pieces.append)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


def pattern(num_bytes: int) -> bytes:
    """Bytes of which no two parts are equal."""
    return hashlib.shake_128(b"contract").digest(num_bytes)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", bytes(range(256)) * 300], ids=["empty", "one byte", "75 kB"]
)
def test_written_data_are_read_back(store: ObjectStore, data: bytes) -> None:
    store.write("a/b.bin", data)
    assert store.read("a/b.bin") == data
    assert store.read_range("a/b.bin", 0, len(data) + 1) == data


def test_a_second_write_replaces_the_first(store: ObjectStore) -> None:
    store.write("k", b"a longer first")
    store.write("k", b"second")
    assert store.read("k") == b"second"


@pytest.mark.parametrize(
    "key",
    ["plain", "two words", "é/ü.txt", "a+b%20c", "q?x=1&y#z", "~tilde", "[x]*'\"", "a..b", "-"],
)
def test_any_name_is_listed_unchanged(store: ObjectStore, key: str) -> None:
    store.write(key, key.encode())
    assert [found.key for found in store.list()] == [key]
    assert store.read(key) == streamed(store, key, 0, 1000) == key.encode()


@pytest.mark.parametrize(
    ("start", "num_bytes"), [(0, 4), (3, 4), (8, 2), (8, 100), (10, 1), (99, 1), (0, 0), (0, 10)]
)
def test_a_range_is_that_slice(store: ObjectStore, start: int, num_bytes: int) -> None:
    store.write("k", b"0123456789")
    assert (
        store.read_range("k", start, num_bytes)
        == streamed(store, "k", start, num_bytes)
        == b"0123456789"[start : start + num_bytes]
    )


def test_an_absent_object_is_named(store: ObjectStore) -> None:
    store.write("there/is", b"something beside it")
    for absent in ("gone", "there/gone", "there", "there/is/gone"):
        for ask in (
            lambda: store.read(absent),  # noqa: B023  called within the iteration
            lambda: store.read_range(absent, 0, 1),  # noqa: B023
            lambda: store.read_range(absent, 0, 0),  # noqa: B023
            lambda: store.stream(absent, 0, 1, bytes),  # noqa: B023
        ):
            with pytest.raises(
                ObjectMissing, match=f"{store.uri}/{absent}: there is no such object"
            ):
                ask()
        assert store.stat(absent) is None


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert list(store.list()) == []
    assert store.stat("k") is None


def test_stat_and_list_agree(store: ObjectStore) -> None:
    store.write("k", b"12345")
    info = store.stat("k")
    assert info is not None
    assert (info.key, info.num_bytes) == ("k", 5)
    assert list(store.list()) == [info]


def test_the_tag_changes_with_the_content_even_at_once(store: ObjectStore) -> None:
    tags = []
    for number in range(20):
        store.write("k", b"%02d" % number)
        tags.append(store.stat("k"))
    assert len({info.etag for info in tags if info}) == 20


def test_delete_removes_and_may_be_repeated(store: ObjectStore) -> None:
    store.write("a/b/c", b"1")
    store.write("a/d", b"2")
    for _ in range(2):
        store.delete("a/b/c")
        assert [info.key for info in store.list()] == ["a/d"]
    store.delete("a")  # a folder on disk, no object anywhere
    store.delete("a/d/e")
    assert store.read("a/d") == b"2"


def test_a_conditional_write_creates_once(store: ObjectStore) -> None:
    tag = store.write_if("lease", b"first", None)
    info = store.stat("lease")
    assert info is not None
    assert tag == info.etag
    assert store.write_if("lease", b"second", None) is None
    assert store.read("lease") == b"first"


def test_a_conditional_write_replaces_only_the_tag_it_saw(store: ObjectStore) -> None:
    first = store.write_if("lease", b"first", None)
    second = store.write_if("lease", b"second", first)
    assert second is not None
    assert second != first
    assert store.write_if("lease", b"third", first) is None
    assert store.read("lease") == b"second"
    store.write("lease", b"from elsewhere")
    assert store.write_if("lease", b"fourth", second) is None
    assert store.read("lease") == b"from elsewhere"


def test_a_conditional_write_sees_a_deletion(store: ObjectStore) -> None:
    tag = store.write_if("lease", b"first", None)
    store.delete("lease")
    assert store.write_if("lease", b"second", tag) is None
    assert store.stat("lease") is None
    assert store.write_if("lease", b"third", None) is not None
    assert [info.key for info in store.list()] == ["lease"]


def test_a_race_to_create_has_one_winner(store: ObjectStore) -> None:
    num_threads = 12
    for attempt in range(5):
        together = threading.Barrier(num_threads)

        def create(
            number: int, key: str = f"lease-{attempt}", together: threading.Barrier = together
        ) -> str | None:
            together.wait()
            return store.write_if(key, b"%d" % number, None)

        with ThreadPoolExecutor(num_threads) as pool:
            tags = list(pool.map(create, range(num_threads)))
        winners = [number for number, tag in enumerate(tags) if tag is not None]
        assert len(winners) == 1
        assert store.read(f"lease-{attempt}") == b"%d" % winners[0]


def test_a_race_to_replace_loses_no_update(store: ObjectStore) -> None:
    """Threads add to one number: each success counts once, in any order."""
    num_threads, num_additions = 6, 5
    store.write("sum", b"0")

    def add(_: int) -> None:
        for _ in range(num_additions):
            while True:
                info = store.stat("sum")
                assert info is not None
                value = int(store.read("sum"))
                if store.write_if("sum", b"%d" % (value + 1), info.etag):
                    break

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(add, range(num_threads)))
    assert int(store.read("sum")) == num_threads * num_additions


def test_a_large_file_is_uploaded_and_read_whole(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(pattern(LARGE_BYTES))
    store.upload(source, "shards/0.bin")
    info = store.stat("shards/0.bin")
    assert info is not None
    assert info.num_bytes == LARGE_BYTES
    assert streamed(store, "shards/0.bin", 0, LARGE_BYTES) == pattern(LARGE_BYTES)
    middle = 16 * 1024 * 1024 - 3
    assert store.read_range("shards/0.bin", middle, 6) == pattern(LARGE_BYTES)[middle : middle + 6]


def test_large_bytes_are_written_whole(store: ObjectStore) -> None:
    store.write("large", pattern(LARGE_BYTES))
    assert (
        hashlib.sha256(store.read("large")).digest()
        == hashlib.sha256(pattern(LARGE_BYTES)).digest()
    )


def test_an_empty_file_is_uploaded_and_read(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    store.upload(tmp_path / "source", "k")
    assert store.read("k") == streamed(store, "k", 0, 10) == b""


def test_an_absent_file_is_not_uploaded(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(
        StorageError,
        match=(
            f"{store.uri}/k: cannot upload {tmp_path}/none: No such file or directory.*check the"
            " path"
        ),
    ):
        store.upload(tmp_path / "none", "k")
    assert list(store.list()) == []


def test_an_error_of_the_receiver_of_a_stream_is_raised_unchanged(store: ObjectStore) -> None:
    class Full(Exception):
        pass

    def write(piece: bytes) -> None:
        raise Full

    store.write("k", b"data")
    with pytest.raises(Full):
        store.stream("k", 0, 4, write)


def test_a_listing_is_in_the_order_of_its_keys(store: ObjectStore) -> None:
    """As S3: by UTF-8 bytes, ``/`` after ``-`` and ``.``, before digits and letters."""
    keys = ["A", "a b", "a-b", "a.txt", "a/b/c", "a/b-c", "a/b.c", "a0", "ab", "z/1", "é"]
    for key in reversed(keys):
        store.write(key, b"")
    assert [info.key for info in store.list()] == sorted(keys, key=str.encode)


def test_a_listing_of_more_than_a_page(store: ObjectStore) -> None:
    keys = [f"step-{number:09d}/part" for number in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.write(key, b"1"), keys))
    assert [info.key for info in store.list()] == keys
    assert [info.key for info in store.list("step-00000100")] == keys[-3:]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["n/1", "n/10", "n/2/x", "n1", "other"]),
        ("n", ["n/1", "n/10", "n/2/x", "n1"]),
        ("n/", ["n/1", "n/10", "n/2/x"]),
        ("n/1", ["n/1", "n/10"]),
        ("n/2", ["n/2/x"]),
        ("n/2/", ["n/2/x"]),
        ("n/2/x/", []),
        ("none", []),
        ("../", []),
    ],
)
def test_a_prefix_is_the_start_of_the_key(
    store: ObjectStore, prefix: str, found: list[str]
) -> None:
    for key in ("n/1", "n/10", "n/2/x", "n1", "other"):
        store.write(key, b"")
    assert [info.key for info in store.list(prefix)] == found


def test_neighbours_of_similar_name_do_not_mix(open_at: OpenStore) -> None:
    """``s3://bucket/prefix`` must not see ``s3://bucket/prefix2``."""
    one, ten, above = open_at("runs/1"), open_at("runs/10"), open_at("runs")
    one.write("k", b"one")
    ten.write("k", b"ten")
    assert [info.key for info in one.list()] == ["k"]
    assert [info.key for info in above.list()] == ["1/k", "10/k"]
    one.delete("k")
    assert ten.read("k") == b"ten"


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../other", "a/../../b", "a//b", "./a", "a/", "nul\0", ".~lock", "a/.~b/c"],
)
def test_a_key_cannot_leave_the_store(store: ObjectStore, key: str, tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    for use in (
        lambda: store.read(key),
        lambda: store.read_range(key, 0, 1),
        lambda: store.stat(key),
        lambda: store.write(key, b""),
        lambda: store.write_if(key, b"", None),
        lambda: store.upload(tmp_path / "source", key),
        lambda: store.stream(key, 0, 1, bytes),
        lambda: store.delete(key),
    ):
        with pytest.raises(
            StorageError,
            match=rf"{store.uri}: the key .* (expected names joined|reserved for unfinished files)",
        ):
            use()
    assert list(store.list()) == []


def test_many_threads_share_a_store(store: ObjectStore) -> None:
    def round_trip(number: int) -> bool:
        store.write(f"k/{number}", b"%d" % number)
        return store.read(f"k/{number}") == b"%d" % number

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(round_trip, range(200)))


def test_only_a_folder_is_read_in_place(store: ObjectStore) -> None:
    store.write("k", b"data")
    path = store.local_path("k")
    assert (path is None) == store.uri.startswith("s3://")
    assert path is None or path.read_bytes() == b"data"


@pytest.mark.s3
def test_a_certificate_of_an_unknown_authority_is_named(
    tls_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_server.enter(monkeypatch)
    uri = f"s3://{tls_server.new_bucket()}/run"
    spec = StorageSpec(max_attempts=1, checksums="when_required")
    open_store(uri, spec).write("k", b"data")
    monkeypatch.delenv("AWS_CA_BUNDLE")
    store = open_store(uri, spec)
    for ask in (lambda: store.read("k"), lambda: store.stream("k", 0, 1, bytes)):
        with pytest.raises(StorageError, match=r"check the certificate \(AWS_CA_BUNDLE"):
            ask()
