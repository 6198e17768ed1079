"""Reading: the right images, from a folder and from a store, for any number of workers, and never a byte of a damaged shard."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.data.index import Index, read_index, write_index
from job.data.order import Positions, rows_at, shard_reads, worker_positions
from job.storage.local import LocalStore
from job.streaming.budget import bytes_in_use, check_budget
from job.streaming.buffers import ALIGNMENT_BYTES, Buffers
from job.streaming.reader import PARALLEL_BYTES
from tests.data.samples import packed_rows
from tests.streaming.sets import (
    RemoteStore,
    batches_of,
    numbers_of,
    open_reader,
    order_of,
    pack_numbered,
)

BATCH = 12
both_stores = pytest.mark.parametrize("store_class", [LocalStore, RemoteStore])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 1,000 images in ten shards."""
    pack_numbered(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def index(folder: Path) -> Index:
    return read_index(LocalStore(folder))


@both_stores
@pytest.mark.parametrize("num_workers", [1, 2, 3, 4])
def test_workers_together_read_the_global_batches(
    folder: Path, index: Index, tmp_path: Path, store_class: type[LocalStore], num_workers: int
) -> None:
    """Across the end of an epoch, in chunks of different lengths."""
    order = order_of(index, BATCH)
    parts = []
    for worker in range(num_workers):
        with open_reader(
            store_class(folder), tmp_path / "cache", worker=worker, num_workers=num_workers
        ) as reader:
            chunks = [
                batches_of(reader.chunk(step, count))
                for step, count in ((0, 20), (20, 1), (21, 60), (81, 20))
            ]
        parts.append(np.concatenate(chunks))
    images = np.concatenate(parts, axis=1)
    assert images.shape == (101, BATCH, 2, 3, 1)
    assert np.array_equal(images, packed_rows(folder, index)[rows_at(order, 0, 101)])


@both_stores
def test_threads_copy_the_same_images(tmp_path: Path, store_class: type[LocalStore]) -> None:
    """In chunks large enough to be worth it: 12 x 40 images of 16 KiB."""
    index = pack_numbered(tmp_path / "set", 1000, 20, height=128, width=128)
    with open_reader(store_class(tmp_path / "set"), tmp_path / "cache", threads=3) as reader:
        chunks = [reader.chunk(step, 40) for step in (0, 40, 80)]
        assert chunks[0].nbytes > PARALLEL_BYTES
    wanted = packed_rows(tmp_path / "set", index)[rows_at(order_of(index, BATCH), 0, 120)]
    assert np.array_equal(np.concatenate([batches_of(chunk) for chunk in chunks]), wanted)


@both_stores
def test_a_damaged_shard_ends_all_threads(tmp_path: Path, store_class: type[LocalStore]) -> None:
    pack_numbered(tmp_path / "set", 1000, 20, height=128, width=128)
    damage_content(tmp_path / "set" / "shard-00003.u8")
    with (
        open_reader(store_class(tmp_path / "set"), tmp_path / "cache", threads=3) as reader,
        pytest.raises(DataError, match="has SHA-256"),
    ):
        reader.chunk(0, 80)


@both_stores
def test_a_reader_begins_at_any_step(
    folder: Path, index: Index, tmp_path: Path, store_class: type[LocalStore]
) -> None:
    with open_reader(
        store_class(folder), tmp_path / "cache", first_step=1000, worker=1, num_workers=2
    ) as reader:
        images = batches_of(reader.chunk(1000, 7))
    wanted = rows_at(order_of(index, BATCH), 1000, 7, Positions(BATCH // 2, BATCH // 2))
    assert np.array_equal(images, packed_rows(folder, index)[wanted])


@both_stores
def test_an_epoch_is_every_image_once(
    folder: Path, tmp_path: Path, store_class: type[LocalStore]
) -> None:
    with open_reader(store_class(folder), tmp_path / "cache") as reader:
        seen = [numbers_of(reader.chunk(step, 1)).ravel() for step in range(1000 // BATCH)]
    assert len(np.unique(np.concatenate(seen))) == 1000 // BATCH * BATCH


def test_a_chunk_keeps_its_content_while_others_are_read(folder: Path, tmp_path: Path) -> None:
    """Buffers are used again only when nobody can see them any more."""
    with open_reader(LocalStore(folder), tmp_path / "cache") as reader:
        kept = [reader.chunk(step, 10) for step in range(0, 80, 10)]
        copies = [chunk.copy() for chunk in kept]
        views = [chunk[:, 3] for chunk in kept]
        del kept
        for step in range(80, 160, 10):
            reader.chunk(step, 10)
        assert all(
            np.array_equal(view, copy[:, 3]) for view, copy in zip(views, copies, strict=True)
        )


def test_buffers_are_aligned_and_used_again() -> None:
    buffers = Buffers()
    first = buffers.take(1000)
    address = first.ctypes.data
    assert (len(first), address % ALIGNMENT_BYTES) == (1000, 0)
    view = first.reshape(10, 100)[3:5]
    del first
    assert buffers.take(1000).ctypes.data != address
    del view
    assert buffers.take(900).ctypes.data == address


def damage_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_content(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(
    ("damage", "local", "remote"),
    [
        (Path.unlink, "not found; expected 600 bytes by index.json", "not found"),
        (
            damage_size,
            "is 599 bytes; expected 600 by index.json",
            "is 599 bytes; expected 600 by index.json, 3 times",
        ),
        (
            damage_content,
            "has SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64} by index.json",
            "has SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64} by index.json, 3 times",
        ),
    ],
)
@both_stores
def test_a_damaged_shard_is_named(
    folder: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    local: str,
    remote: str,
    store_class: type[LocalStore],
) -> None:
    damage(folder / "shard-00003.u8")
    message = local if store_class is LocalStore else remote
    with (
        open_reader(store_class(folder), tmp_path / "cache") as reader,
        pytest.raises(
            DataError,
            match=rf"file://{folder}/shard-00003.u8: {message}: run `dcgan-train data verify file://{folder}`",
        ),
    ):
        reader.chunk(0, 1000 // BATCH)
    assert not list(tmp_path.glob("cache/**/*.partial"))


def test_local_hashes_can_be_trusted_but_not_sizes(folder: Path, tmp_path: Path) -> None:
    damage_content(folder / "shard-00000.u8")
    with open_reader(LocalStore(folder), tmp_path / "cache", verify=False) as reader:
        reader.chunk(0, 80)
    damage_size(folder / "shard-00001.u8")
    with (
        open_reader(LocalStore(folder), tmp_path / "cache", verify=False) as reader,
        pytest.raises(DataError, match="is 599 bytes"),
    ):
        reader.chunk(0, 80)


def test_what_is_fetched_is_always_verified(folder: Path, tmp_path: Path) -> None:
    damage_content(folder / "shard-00000.u8")
    with (
        open_reader(RemoteStore(folder), tmp_path / "cache", verify=False) as reader,
        pytest.raises(DataError, match="has SHA-256"),
    ):
        reader.chunk(0, 80)


def test_an_index_of_other_shards_does_not_match(
    folder: Path, index: Index, tmp_path: Path
) -> None:
    store = LocalStore(folder)
    write_index(
        store, replace(index, shards=(replace(index.shards[0], sha256="0" * 64), *index.shards[1:]))
    )
    with (
        open_reader(store, tmp_path / "cache") as reader,
        pytest.raises(DataError, match=r"expected 0{64}"),
    ):
        reader.chunk(0, 80)


def test_local_shards_are_read_in_place(folder: Path, tmp_path: Path) -> None:
    with open_reader(LocalStore(folder), tmp_path / "cache") as reader:
        reader.chunk(0, 80)
    assert not (tmp_path / "cache").exists()


@both_stores
def test_files_are_let_go(folder: Path, tmp_path: Path, store_class: type[LocalStore]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_reader(store_class(folder), tmp_path / "cache") as reader:
        for step in range(0, 160, 10):
            reader.chunk(step, 10)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_budget_below_what_is_read_at_once_is_refused(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 6000, 50)
    order = order_of(index, BATCH)
    needed = bytes_in_use(order, index, worker_positions(order, 0, 1), 20)
    assert (
        12 * 300 <= needed <= 30 * 300
    )  # a shard of 300 bytes for each of the 12 streams, and those it comes from and goes to
    check_budget(needed, order, index, [worker_positions(order, 0, 1)], 20)
    with pytest.raises(
        ConfigError,
        match=r"data\.cache_bytes is \d.*; expected at least \d.* kB, because this worker reads that much",
    ):
        check_budget(needed - 1, order, index, [worker_positions(order, 0, 1)], 20)
    both = [worker_positions(order, worker, 2) for worker in (0, 1)]
    half = max(bytes_in_use(order, index, positions, 20) for positions in both)
    assert half < needed
    check_budget(2 * half, order, index, both, 20)
    with pytest.raises(ConfigError, match="the 2 workers of a host read"):
        check_budget(2 * half - 1, order, index, both, 20)


def test_a_shard_that_many_lanes_read_counts_once(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 6000, 1500)
    order = order_of(index, BATCH)
    assert bytes_in_use(order, index, worker_positions(order, 0, 1), 20) <= 4 * 1500 * 6


def test_the_need_is_what_a_walk_through_the_epoch_finds(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 3000, 50)
    order, steps = order_of(index, BATCH), 20
    positions = worker_positions(order, 0, 1)
    runs = [
        list(shard_reads(order, step, 1, positions)) for step in range(3 * order.steps_per_epoch)
    ]
    most = 0
    for start in range(1 - steps, 3 * order.steps_per_epoch):
        shards = {
            run.shard
            for step in range(max(start, 0), min(start + steps, len(runs)))
            for run in runs[step]
        }
        most = max(most, sum(index.shards[number].num_bytes for number in shards))
    assert bytes_in_use(order, index, positions, steps) == most


def test_a_warm_reader_is_fast(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((60_000, 28, 28), np.uint8))
    from tests.data.samples import packed_index

    packed_index(tmp_path / "a.npy", tmp_path / "set")
    with open_reader(LocalStore(tmp_path / "set"), tmp_path / "cache", batch=64) as reader:
        for step in range(0, 900, 20):  # looks at every hash
            reader.chunk(step, 20)
        start = time.perf_counter()
        for step in range(900, 1800, 20):
            reader.chunk(step, 20)
    images_per_second = 900 * 64 / (time.perf_counter() - start)
    assert images_per_second > 250_000, (
        f"{images_per_second:,.0f} images/s"
    )  # a million on a quiet core
