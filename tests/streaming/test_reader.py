"""Reading: the right images from a folder and a store, for any number of workers."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError
from job.data.index import Index, read_index
from job.data.order import Positions, rows_at
from job.storage.local import LocalStore
from job.streaming.budget import bytes_in_use
from job.streaming.reader import PARALLEL_BYTES
from tests.data.samples import packed_rows
from tests.streaming.sets import (
    NUM_CLASSES,
    RemoteStore,
    batches_of,
    both_stores,
    damage_content,
    damage_size,
    numbers_of,
    open_reader,
    order_of,
    pack_numbered,
)

BATCH = 12


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
@pytest.mark.parametrize("num_workers", [1, 3])
def test_labels_are_those_of_the_images(
    folder: Path, tmp_path: Path, store_class: type[LocalStore], num_workers: int
) -> None:
    """Across the end of an epoch, of whole streams, and the images are those read without."""
    for worker in range(num_workers):
        options = {"worker": worker, "num_workers": num_workers}
        with (
            open_reader(store_class(folder), tmp_path / "a", **options) as plain,
            open_reader(store_class(folder), tmp_path / "b", with_labels=True, **options) as reader,
        ):
            for step, count in ((0, 20), (20, 1), (21, 60), (81, 20)):
                chunk, labels = reader.chunk(step, count), reader.labels(step, count)
                assert labels.dtype == np.int32
                assert labels.shape == chunk.shape[:3]
                assert np.array_equal(labels, numbers_of(chunk) % NUM_CLASSES)
                assert np.array_equal(chunk, plain.chunk(step, count))


@pytest.mark.slow
def test_labels_are_fetched_ahead_in_the_smallest_cache(store: RemoteStore, tmp_path: Path) -> None:
    index = read_index(store)
    order, positions = order_of(index), Positions(0, BATCH)
    smallest = bytes_in_use(order, index, positions, 10, with_labels=True)
    assert smallest > bytes_in_use(order, index, positions, 10)
    with open_reader(
        store, tmp_path / "cache", with_labels=True, cache_bytes=smallest, fetch_patience_seconds=5
    ) as reader:
        for step in range(0, order.steps_per_epoch, 10):
            chunk, labels = reader.chunk(step, 10), reader.labels(step, 10)
            assert np.array_equal(labels, numbers_of(chunk) % NUM_CLASSES)
    assert any(name.endswith(".labels.i32") for name in store.streamed)


def test_without_labels_no_label_file_is_read(store: RemoteStore, tmp_path: Path) -> None:
    with open_reader(store, tmp_path / "cache") as reader:
        reader.chunk(0, 10)
    assert store.streamed
    assert not any(name.endswith(".labels.i32") for name in store.streamed)


@both_stores
@pytest.mark.parametrize("damage", [damage_size, damage_content])
def test_a_damaged_label_file_is_named(
    folder: Path,
    tmp_path: Path,
    store_class: type[LocalStore],
    damage: Callable[[Path], None],
) -> None:
    damage(folder / "shard-00003.labels.i32")
    named = pytest.raises(DataError, match=r"/shard-00003\.labels\.i32: (is 399|has SHA)")
    with open_reader(store_class(folder), tmp_path / "cache", with_labels=True) as reader:
        reader.chunk(0, 83)
        with named:
            reader.labels(0, 83)


@pytest.mark.slow
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
    # A million on a quiet core.
    assert images_per_second > 250_000, f"{images_per_second:,.0f} images/s"
