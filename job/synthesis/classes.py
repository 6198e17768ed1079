"""The class of a generated image: a pure function of seed and index, like everything about it."""

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import ConfigError
from job.config.validation import shown
from job.data.index import ImageClass
from job.data.permutation import fold, uniform

_CLASSES = 1  # purpose of the hash
_COUNTED_AT_ONCE = 1 << 20


class ClassPlan(NamedTuple):
    """The classes of a generator, by label, and which of them images have.

    Image i has the label ``turn[i % len(turn)]``. Without ``turn`` its label is drawn by ``seed``
    and i: each as often as in the training data, where the classes have ``num_rows``.
    """

    names: tuple[str, ...]
    num_rows: tuple[int, ...]
    turn: tuple[int, ...] = ()
    seed: int = 0

    def labels(self, first_index: int, num_images: int) -> NDArray[np.int32]:
        """Return the labels ``[N]``, int32, of the images from ``first_index`` on."""
        stop = first_index + num_images
        if self.turn:
            indices = np.arange(first_index, stop, dtype=np.int64)
            return np.array(self.turn, np.int32)[indices % len(self.turn)]
        ends = np.cumsum(self.num_rows) / sum(self.num_rows)
        drawn = uniform(fold(self.seed, _CLASSES), first_index, stop)
        return np.searchsorted(ends, drawn, side="right").astype(np.int32)

    def num_images(self, start: int, stop: int) -> list[int]:
        """Return how many of the images ``start ... stop - 1`` each class has."""
        counts = np.zeros(len(self.names), np.int64)
        for first, size in _pieces(start, stop):
            counts += np.bincount(self.labels(first, size), minlength=len(self.names))
        return [int(count) for count in counts]


def class_plan(
    classes: Sequence[ImageClass], wanted: Sequence[str], *, balanced: bool, seed: int, uri: str
) -> ClassPlan | None:
    """Return the plan of ``labels_in_turn``; None for a generator without classes."""
    turn = labels_in_turn(classes, wanted, balanced=balanced, uri=uri)
    if not classes:
        return None
    num_rows = tuple(each.num_rows for each in classes)
    return ClassPlan(tuple(each.name for each in classes), num_rows, turn, seed)


def labels_in_turn(
    classes: Sequence[ImageClass], wanted: Sequence[str], *, balanced: bool, uri: str
) -> tuple[int, ...]:
    """Return the labels of ``--class`` in order, of all classes if balanced, else ``()``.

    A class is named, or numbered from 0; a name comes first. ``ConfigError`` if there is none, or
    if the generator of ``uri`` has no classes.
    """
    if not classes and (wanted or balanced):
        option = f"--class is {wanted[0]}" if wanted else "--balanced is given"
        raise ConfigError(
            f"{option} and {uri} has no classes; expected a checkpoint of a run with"
            " model.conditional: true"
        )
    if balanced:
        return tuple(range(len(classes)))
    names = [each.name for each in classes]
    return tuple(_label(names, name, uri) for name in wanted)


def _label(names: list[str], wanted: str, uri: str) -> int:
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(names):
        return int(wanted)
    nearest = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"its classes are {shown(names)}"
    raise ConfigError(
        f"--class is {wanted}; expected a class of {uri} or a number from 0 to"
        f" {len(names) - 1}; {hint}"
    )


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, _COUNTED_AT_ONCE):
        yield first, min(_COUNTED_AT_ONCE, stop - first)
