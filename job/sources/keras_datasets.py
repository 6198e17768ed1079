"""The data sets of Keras: ``keras:fashion_mnist`` and friends. The only place of ``job.data`` that loads Keras, and only when asked."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from job import KERAS_FOLDER
from job.config.errors import ConfigError, DataError
from job.sources.idx import IdxSource
from job.sources.numpy_arrays import ArraySource
from job.sources.source import Source
from job.telemetry.quiet import quiet_stderr

_FASHION = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_DIGITS = tuple(str(digit) for digit in range(10))
_CLASS_NAMES = {"fashion_mnist": _FASHION, "mnist": _DIGITS, "cifar10": _CIFAR10, "cifar100": None}
# By their published names; Keras keeps the archives of CIFAR under other ones.
_FASHION_FILES = tuple(
    f"{split}-{kind}-ubyte.gz"
    for split in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)
_FILES = {
    "fashion_mnist": f"{', '.join(_FASHION_FILES)} into {{}}/fashion-mnist",
    "mnist": "mnist.npz into {}",
    "cifar10": "cifar-10-python.tar.gz as cifar-10-batches-py-target_archive into {}",
    "cifar100": "cifar-100-python.tar.gz as cifar-100-python-target_archive into {}",
}
DEBIAN_FASHION = Path(
    "/usr/share/datasets/fashion-mnist"
)  # of Debian's package dataset-fashion-mnist
_STALLED_SECONDS = 30.0


def open_keras(name: str, split: str, debian_fashion: Path = DEBIAN_FASHION) -> Source:
    """Return the ``split`` of Keras's data set ``name``: from Keras's folder, else Debian's package, else downloaded.

    ``DataError`` if it is in neither place and cannot be downloaded. Only Fashion-MNIST has a package.
    """
    if name not in _CLASS_NAMES:
        raise ConfigError(
            f"keras:{name}: unknown data set; expected one of {', '.join(f'keras:{known}' for known in _CLASS_NAMES)}"
        )
    keras_fashion = Path(_folder(), "datasets", "fashion-mnist")
    if name == "fashion_mnist" and not _has_fashion(keras_fashion) and _has_fashion(debian_fashion):
        return _open_debian(debian_fashion, split)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        train, test = _load(name)
    images, labels = train if split == "train" else test
    return ArraySource(f"keras:{name}", "keras", images, labels, _CLASS_NAMES[name])


def _load(name: str) -> Any:
    import keras
    from keras.src.backend import config

    config._KERAS_DIR = folder = (
        _folder()
    )  # no public name sets it later than at the import, which must not read the folder's keras.json
    with suppress(OSError):  # Keras takes /tmp/.keras for a folder that it cannot write to
        os.makedirs(folder, exist_ok=True)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(
        _STALLED_SECONDS
    )  # Keras sets none, and a network that drops packets would stall the job for ever
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception for a failed download
        files = _FILES[name].format(os.path.join(folder, "datasets"))
        package = (
            " or install Debian's package dataset-fashion-mnist," if name == "fashion_mnist" else ""
        )
        raise DataError(
            f"keras:{name}: Keras could not load it ({error}). Check the network or proxy, or put {files},{package} "
            "or pack images of your own, or `synthetic:garments`, which needs no network"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _folder() -> str:
    """Return where Keras keeps its files."""
    home = os.path.expanduser("~")
    return KERAS_FOLDER or os.path.join(home if os.path.isabs(home) else "/tmp", ".keras")


def _has_fashion(folder: Path) -> bool:
    """Return whether all files of Fashion-MNIST are there and may be read."""
    return all(
        os.path.isfile(folder / name) and os.access(folder / name, os.R_OK)
        for name in _FASHION_FILES
    )


def _open_debian(folder: Path, split: str) -> IdxSource:
    """Return what Keras would load, read as a stream and without Keras."""
    images, labels = _FASHION_FILES[:2] if split == "train" else _FASHION_FILES[2:]
    source = IdxSource(folder / images, folder / labels)
    source.kind, source.class_names = "keras", _FASHION
    return source
