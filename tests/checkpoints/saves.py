"""Small checkpoints for tests, and a store that stops working."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.errors import StorageError
from job.storage.store import Interrupted, ObjectStore

PARTS = {"generator.npz": b"generator", "discriminator.npz": b"discriminator"}


def facts(step: int, **metrics: float) -> Manifest:
    """A manifest of a model that nobody trains."""
    return Manifest(
        step=step,
        images_seen=step * 8,
        created="2026-01-01T00:00:00+00:00",
        model={"channels": 1},
        data_fingerprint="f" * 64,
        order={"seed": 0},
        world_size=2,
        metrics={"generator_loss": 0.5, **metrics},
        versions={"keras": "3"},
        parts=(),
    )


def parts_of(step: int) -> dict[str, bytes]:
    """Other bytes for each step."""
    return {name: data + str(step).encode() for name, data in PARTS.items()}


def save(store: ObjectStore, *steps: int, **metrics: float) -> Checkpoints:
    """Committed checkpoints of these steps."""
    checkpoints = Checkpoints(store)
    for step in steps:
        checkpoints.save(facts(step, **metrics), parts_of(step))
    return checkpoints


def steps_of(store: ObjectStore) -> list[int]:
    """Committed steps, newest first."""
    return [manifest.step for manifest in Checkpoints(store).committed()]


class Breaking:
    """A store that calls ``before(number, name)`` before each request; it may raise or wait."""

    def __init__(self, store: ObjectStore, before: Callable[[int, str], None]):
        self._store, self._before, self.requests = store, before, 0
        self.asked: list[tuple[str, str]] = []
        """Name and key of each request."""
        self.uri = store.uri

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "local_path":  # asks nobody
            return method

        def asked(*arguments: Any) -> Any:
            self.requests += 1
            self.asked.append((name, arguments[0]))
            self._before(self.requests, name)
            return method(*arguments)

        return asked

    def list(self, prefix: str = "") -> Iterator[Any]:
        self.requests += 1
        self.asked.append(("list", prefix))
        self._before(self.requests, "list")
        return self._store.list(prefix)


class LosingAnswers(Breaking):
    """A store that carries out its first request named ``lost``, but loses the answer."""

    def __init__(self, store: ObjectStore, lost: str):
        super().__init__(store, lambda request, name: None)
        self._lost, self.num_lost = lost, 0

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name != self._lost:
            return method

        def unanswered(*arguments: Any) -> Any:
            result = method(*arguments)
            if self.num_lost == 0:
                self.num_lost += 1
                raise Interrupted("the answer did not arrive", "connection")
            return result

        return unanswered


def counting(store: ObjectStore) -> Breaking:
    """``store``; ``asked`` is what was asked of it."""
    return Breaking(store, lambda request, name: None)


def for_good_from(number: int) -> Callable[[int, str], None]:
    """Every request from the ``number``-th on fails."""

    def before(request: int, name: str) -> None:
        if request >= number:
            raise StorageError(f"request {request} ({name}): the store is gone")

    return before


def tree(folder: Path) -> set[str]:
    """All files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
