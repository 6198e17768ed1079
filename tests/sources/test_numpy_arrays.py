"""NumPy files: arrays by their usual names, and errors before memory is set aside."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError
from job.sources.open_source import open_source
from tests.data.samples import (
    numbered,
    write_zip,
)
from tests.sources.reading import arrays_of, read_all


@pytest.mark.parametrize("shape", [(700, 30, 40), (700, 30, 40, 1), (700, 30, 40, 3)])
def test_npy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "a.npy", images)
    found, labels = arrays_of(open_source(str(tmp_path / "a.npy")))
    assert np.array_equal(found.reshape(shape), images)
    assert labels is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("x_train", "y_train"), ("arr_0", "arr_1")]
)
def test_npz(tmp_path: Path, names: tuple[str, str], save: object) -> None:
    images, labels = numbered(900, 40, 40), np.arange(900)[:, None] % 7
    arrays = {names[0]: images[..., 0], names[1]: labels, "x_test": images[:4]}
    save(tmp_path / "a.npz", **arrays)  # type: ignore[operator]
    found_images, found_labels = arrays_of(open_source(str(tmp_path / "a.npz")))
    assert np.array_equal(found_images, images)
    assert np.array_equal(found_labels, labels[:, 0])
    assert np.array_equal(
        arrays_of(open_source(str(tmp_path / "a.npz"), split="test"))[0], images[:4]
    )


@pytest.mark.parametrize(
    "names",
    [("X", "y"), ("X_train", "Y_train"), ("image", "label"), ("imgs", "Labels"), ("faces", None)],
)
def test_npz_by_other_names(tmp_path: Path, names: tuple[str, str | None]) -> None:
    """In any case, and an array that is alone under any name."""
    images, labels = numbered(9, 5, 5)[..., 0], np.arange(9) % 4
    np.savez(tmp_path / "a.npz", **{names[0]: images} | ({names[1]: labels} if names[1] else {}))
    found_images, found_labels = arrays_of(open_source(str(tmp_path / "a.npz")))
    assert np.array_equal(found_images[..., 0], images)
    assert found_labels is None if names[1] is None else np.array_equal(found_labels, labels)


def test_the_documented_names_of_an_npz_come_first(tmp_path: Path) -> None:
    images = numbered(9, 5, 5)[..., 0]
    np.savez(tmp_path / "a.npz", X=images[:2], Images=images[:3], data=images, image=images[:4])
    assert open_source(str(tmp_path / "a.npz")).num_images == 9


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 4)), r"an array of float64, shape \[3, 4, 4\]; expected uint8"),
        (np.zeros((3, 4), np.uint8), r"values of shape \[3, 4\]; expected images"),
        (np.zeros((3, 4, 4, 2), np.uint8), r"values of shape \[3, 4, 4, 2\]; expected images"),
        (np.zeros((0, 4, 4), np.uint8), r"values of shape \[0, 4, 4, 1\]; expected images"),
        (
            np.asfortranarray(np.zeros((3, 4, 4), np.uint8)),
            "saved in Fortran order; expected C order",
        ),
        (np.array([{}, {}], object), "an array of object"),
    ],
)
def test_unsuitable_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=f"{tmp_path}/a.npy: {message}"):
        open_source(str(tmp_path / "a.npy"))


@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64, 4), (3, 48, 64), (4, 48, 64)])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_one_photo_is_not_an_array_of_images(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    np.save(path, np.zeros(shape, np.uint8)) if kind == "npy" else np.savez(
        path, x=np.zeros(shape, np.uint8)
    )
    with pytest.raises(
        DataError,
        match=rf"values of shape \[{shape[0]}, .*, which may be one colour image; expected "
        r"images \[N, H, W\] or \[N, H, W, 1 or 3\]",
    ):
        open_source(str(path))


def npy_of_shape(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + bytes(100)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 2**31, 2**31), "expected at most 268,435,456 bytes"),
        ((2**70, 2**70, 2**70), "expected at most 268,435,456 bytes"),
        ((-5, 4, 4), "expected images"),
        ((5, -4, -4), "expected images"),
        (
            (2**60, 8, 8),
            r"ends after 100 bytes of values; expected 73,786,976,294,838,206,464 bytes",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_numpy_of_absurd_shape(
    tmp_path: Path, shape: tuple[int, ...], message: str, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(npy_of_shape(shape))
    if kind == "npz":
        write_zip(path, {"x.npy": npy_of_shape(shape)})
    with pytest.raises(DataError, match=f"{path}: .*{message}"):
        open_source(str(path))


@pytest.mark.slow
def test_numpy_labels_of_absurd_shape(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.npz",
        {"x.npy": npy_of_shape((100, 1, 1)), "y.npy": npy_of_shape((2**50,), "<i8")},
    )
    with pytest.raises(
        DataError,
        match=rf"{path}: labels of int64 and shape \[{2**50}\]; expected 100 whole numbers, "
        "one an image",
    ):
        open_source(str(path))
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED
    ) as archive:  # 64 MiB that are really there, in 64 KiB
        archive.writestr("x.npy", npy_of_shape((100, 1, 1)))
        archive.writestr("y.npy", npy_of_shape((64 << 20,)) + bytes((64 << 20) - 100))
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError,
            match=r"labels of uint8 and shape \[67108864\]; expected 100 whole numbers, one "
            "an image",
        ):
            open_source(str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_broken_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "cut.npy", numbered(9))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cut.npy: ends after 53 bytes of values; expected 54"):
        list(read_all(open_source(str(tmp_path / "cut.npy"))))
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    for name in ("text.npy", "text.npz"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as NumPy arrays"):
            open_source(str(tmp_path / name))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3), biases=np.zeros(3))
    with pytest.raises(
        DataError,
        match="holds the arrays weights, biases; expected images named x_train, train_images, "
        "images",
    ):
        open_source(str(tmp_path / "other.npz"))
    np.savez(tmp_path / "labels.npz", x=numbered(3), y=np.zeros(4, int))
    with pytest.raises(
        DataError, match=r"labels of int64 and shape \[4\]; expected 3 whole numbers"
    ):
        open_source(str(tmp_path / "labels.npz"))


def test_an_npz_of_a_compression_that_python_cannot_read(tmp_path: Path) -> None:
    npz = write_zip(tmp_path / "a.npz", {"x.npy": npy_of_shape((1, 10, 10))}, compression=0)
    npz.write_bytes(
        npz.read_bytes()
        .replace(b"PK\3\4\x14\0\0\0\0", b"PK\3\4\x14\0\0\0\x09")
        .replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x09\0")
    )
    with pytest.raises(DataError, match="cannot be read as NumPy arrays"):
        open_source(str(npz))
