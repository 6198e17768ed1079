"""The data sets of Keras, ``keras:fashion_mnist`` for example. Loads Keras only for them."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from job import KERAS_FOLDER
from job.config.errors import ConfigError, DataError
from job.sources.garments import CLASS_NAMES as FASHION_CLASSES
from job.sources.idx import IdxSource
from job.sources.numpy_arrays import ArraySource
from job.sources.source import Source
from job.telemetry.quiet import quiet_stderr

_CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CLASS_NAMES = {
    "fashion_mnist": FASHION_CLASSES,
    "mnist": tuple("0123456789"),
    "cifar10": _CIFAR10,
    "cifar100": None,
}
_FASHION_FILES = tuple(
    f"{split}-{kind}-ubyte.gz"
    for split in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)
# By their published names; Keras keeps the archives of CIFAR under other ones.
_FILES = {
    "fashion_mnist": f"{', '.join(_FASHION_FILES)} into {{}}/fashion-mnist",
    "mnist": "mnist.npz into {}",
    "cifar10": "cifar-10-python.tar.gz as cifar-10-batches-py-target_archive into {}",
    "cifar100": "cifar-100-python.tar.gz as cifar-100-python-target_archive into {}",
}
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
_STALLED_SECONDS = 30.0


def open_keras(name: str, split: str, debian_fashion: Path = DEBIAN_FASHION) -> Source:
    """Return the ``split`` of Keras's data set ``name``.

    From Keras's folder, else from Debian's package (Fashion-MNIST only), else downloaded.
    ``DataError`` if it cannot be downloaded.
    """
    if name not in _CLASS_NAMES:
        known = ", ".join(f"keras:{known}" for known in _CLASS_NAMES)
        raise ConfigError(f"keras:{name}: unknown data set; expected one of {known}")
    keras_fashion = Path(_folder(), "datasets", "fashion-mnist")
    if name == "fashion_mnist" and not _has_fashion(keras_fashion) and _has_fashion(debian_fashion):
        # What Keras would load, read as a stream and without Keras.
        images, labels = _FASHION_FILES[:2] if split == "train" else _FASHION_FILES[2:]
        source = IdxSource(debian_fashion / images, debian_fashion / labels)
        source.kind, source.class_names = "keras", FASHION_CLASSES
        return source
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        train, test = _load(name)
    images, labels = train if split == "train" else test
    return ArraySource(f"keras:{name}", "keras", images, labels, _CLASS_NAMES[name])


def _load(name: str) -> Any:
    import keras
    from keras.src.backend import config

    # No public name sets it after the import, which must not read the folder's keras.json.
    config._KERAS_DIR = folder = _folder()
    with suppress(OSError):  # Keras falls back to /tmp/.keras if it cannot write to the folder
        os.makedirs(folder, exist_ok=True)
    timeout = socket.getdefaulttimeout()
    # Keras sets none, and a network that drops packets would stall the job for ever.
    socket.setdefaulttimeout(_STALLED_SECONDS)
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception for a failed download
        files = _FILES[name].format(os.path.join(folder, "datasets"))
        package = " or install Debian's package dataset-fashion-mnist,"
        raise DataError(
            f"keras:{name}: Keras could not load it ({error}). Check the network or proxy, or put "
            f"{files},{package if name == 'fashion_mnist' else ''} or pack images of your own, "
            "or `synthetic:garments`, which needs no network"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _folder() -> str:
    """Return the folder of Keras's files."""
    home = os.path.expanduser("~")
    return KERAS_FOLDER or os.path.join(home if os.path.isabs(home) else "/tmp", ".keras")


def _has_fashion(folder: Path) -> bool:
    """Return whether all files of Fashion-MNIST are in ``folder`` and readable."""
    paths = (folder / name for name in _FASHION_FILES)
    return all(path.is_file() and os.access(path, os.R_OK) for path in paths)
