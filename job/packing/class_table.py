"""Classes of images read once: numbered as they are met, put in their final order at the end."""

import re

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.data.index import ImageClass

NO_LABEL = -1


class ClassTable:
    """Labels of rows, first as provisional numbers.

    ``names`` are those of the labels 0, 1, ... if the source knows them, else None.
    """

    def __init__(self, names: tuple[str, ...] | None) -> None:
        self._is_fixed = names is not None
        self._numbers: dict[str, int] = {name: number for number, name in enumerate(names or ())}
        self._num_rows: list[int] = [0] * len(self._numbers)

    def add_name(self, name: str | None) -> int:
        """Count one row of a class and return its provisional number, -1 for None."""
        if name is None:
            return NO_LABEL
        number = self._number(name)
        self._num_rows[number] += 1
        return number

    def add_values(self, values: NDArray[np.integer]) -> NDArray[np.int32]:
        """Count rows by their labels ``[N]`` and return their provisional numbers ``[N]``."""
        found, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        if self._is_fixed and len(found) and not 0 <= found[0] <= found[-1] < len(self._numbers):
            raise DataError(
                f"labels from {found[0]} to {found[-1]}; expected 0 to {len(self._numbers) - 1}"
            )
        numbers = [int(value) if self._is_fixed else self._number(str(value)) for value in found]
        for number, count in zip(numbers, counts.tolist(), strict=True):
            self._num_rows[number] += count
        return np.array(numbers, np.int32)[places]

    def classes(self) -> tuple[ImageClass, ...] | None:
        """Return the classes in their final order; None if there are fewer than two."""
        if len(self._numbers) < 2:
            return None
        names, order = list(self._numbers), self._final_order()
        return tuple(ImageClass(names[number], self._num_rows[number]) for number in order)

    def final_labels(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return provisional numbers ``[N]`` as places in ``classes``."""
        order = self._final_order()
        places = np.full(len(order) + 1, NO_LABEL, np.int32)  # the last is that of -1
        places[order] = np.arange(len(order), dtype=np.int32)
        return places[numbers]

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._numbers)
            self._num_rows.append(0)
        return self._numbers[name]

    def _final_order(self) -> list[int]:
        """Return provisional numbers by name, numeric names by value; as is if the source named."""
        names = list(self._numbers)
        if self._is_fixed:
            return list(range(len(names)))
        return sorted(range(len(names)), key=lambda number: _sort_key(names[number]))


def _sort_key(name: str) -> tuple[bool, int, str]:
    is_number = re.fullmatch(r"-?[0-9]{1,18}", name) is not None
    return (not is_number, int(name) if is_number else 0, name)
