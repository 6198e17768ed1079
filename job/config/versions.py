"""Versions of what a checkpoint was made with, for its manifest and for ``run.yaml``."""

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Package name to version; Python's own under ``python``."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in ("dcgan-train", "tensorflow", "keras", "ray", "numpy")},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
