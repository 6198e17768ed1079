"""The data sets that Keras downloads: ``keras:fashion_mnist`` and friends. The only place of ``job.data`` that loads Keras, and only when asked."""

import os
import socket
from contextlib import suppress
from typing import Any

from job import KERAS_FOLDER
from job.config.errors import ConfigError, DataError
from job.sources.numpy_arrays import ArraySource
from job.telemetry.quiet import quiet_stderr

_FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple(str(digit) for digit in range(10))
_CLASS_NAMES = {"fashion_mnist": _FASHION, "mnist": _DIGITS, "cifar10": _CIFAR10, "cifar100": None}
_STALLED_SECONDS = 30.0


def open_keras(name: str, split: str) -> ArraySource:
    """The ``split`` of Keras's data set ``name``; ``DataError`` when it is not in Keras's cache and cannot be downloaded."""
    if name not in _CLASS_NAMES:
        raise ConfigError(f"keras:{name}: unknown data set; expected one of {', '.join(f'keras:{known}' for known in _CLASS_NAMES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet_stderr():
        train, test = _load(name)
    images, labels = train if split == "train" else test
    return ArraySource(f"keras:{name}", "keras", images, labels, _CLASS_NAMES[name])


def _load(name: str) -> Any:
    import keras
    from keras.src.backend import config

    config._KERAS_DIR = _folder()  # no public name sets it later than at the import, which must not read the folder's keras.json
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALLED_SECONDS)  # Keras sets none, and a network that drops packets would stall the job for ever
    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception for a failed download
        raise DataError(
            f"keras:{name}: Keras could not load it ({error}). Check the network or proxy, put the files into ~/.keras/datasets by hand, "
            "or pack images of your own, or `synthetic:garments`, which needs no network"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


def _folder() -> str:
    """Where Keras keeps its files, made if it is missing: Keras itself takes ``/tmp/.keras`` for a folder that it cannot write to."""
    home = os.path.expanduser("~")
    folder = KERAS_FOLDER or os.path.join(home if os.path.isabs(home) else "/tmp", ".keras")
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return folder
