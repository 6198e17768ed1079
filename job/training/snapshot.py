"""The state of a run as bytes: ``.npz`` per network and optimizer, and ``generator.keras``.

Knows no stores. An ``.npz`` is a zip of plain arrays named by variable; loading never unpickles.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from job.checkpoints import arrays
from job.config.errors import DivergedError, StorageError
from job.config.spec import RunSpec
from job.data.index import ImageClass
from job.gan.generator import build_generator
from job.gan.networks import Networks, dtype_policy, generator_weights
from job.storage.scratch import scratch_folder

CLASSES = "classes.json"
ADAPTIVE, EMA_STATISTICS = "augmentation.npz", "generator_ema_statistics.npz"


class Snapshot(NamedTuple):
    """A copy of the state in this process's memory, so that training can continue."""

    step: int
    state: dict[str, dict[str, np.ndarray]]
    """By part and variable."""
    shown: list[np.ndarray]
    """Weights of ``generator.keras``, in the order of its variables."""


class Exporter:
    """A second generator, of plain variables, with the averaged weights if averaging is on.

    For one thread.
    """

    def __init__(self, spec: RunSpec, classes: Sequence[ImageClass] = ()):
        self._classes = [each.name for each in classes]
        self._model = build_generator(
            spec.model,
            spec.seed,
            num_classes=len(classes),
            policy=dtype_policy(spec.training.precision),
        )

    def load(self, shown: Iterable[np.ndarray]) -> keras.Model:
        """Return the generator with these weights (``shown_weights``)."""
        for target, value in zip(generator_weights(self._model), shown, strict=True):
            target.assign(value)
        return self._model

    def to_keras(self, shown: Iterable[np.ndarray]) -> bytes:
        """Return the content of ``generator.keras``.

        That of a conditional model, a zip as all are, also has ``classes.json``, which Keras
        ignores: the names of the labels 0, 1, ...
        """
        with scratch_folder() as folder:
            path = folder / "generator.keras"
            self.load(shown).save(path)
            if self._classes:
                with zipfile.ZipFile(path, "a") as archive:
                    archive.writestr(CLASSES, json.dumps(self._classes))
            return path.read_bytes()


def shown_weights(networks: Networks) -> list[np.ndarray]:
    """Return the weights for ``Exporter``: the averages, if there are any."""
    weights = [variable.value for variable in generator_weights(networks.generator)]
    return [_read(variable) for variable in networks.ema or weights]


def take(networks: Networks, step: int) -> Snapshot:
    """Copy the state, some megabytes."""
    state = {
        part: {key: _read(variable) for key, variable in variables.items()}
        for part, variables in _groups(networks).items()
    }
    return Snapshot(step, state, shown_weights(networks))


def to_parts(snapshot: Snapshot, exporter: Exporter) -> dict[str, bytes]:
    """Return the parts of the checkpoint by file name.

    Raises ``DivergedError`` if a weight is not finite.
    """
    for part, variables in snapshot.state.items():
        for key, array in variables.items():
            if not np.isfinite(array.astype(np.float32)).all():
                raise DivergedError(
                    f"step {snapshot.step}: {part.removesuffix('.npz')} {key} is not finite;"
                    " expected finite weights. Lower the learning rates, or resume from the last"
                    " checkpoint, which is untouched"
                )
    parts = {part: arrays.pack(variables) for part, variables in snapshot.state.items()}
    return {**parts, "generator.keras": exporter.to_keras(snapshot.shown)}


def put(networks: Networks, parts: Mapping[str, bytes], spec: RunSpec) -> None:
    """Restore the state on this worker; with ``StorageError`` if a part does not fit, nothing.

    Every worker calls it with the same parts. Learning rates are those of ``spec``.
    """
    groups = _groups(networks)
    found = {}
    for name, variables in groups.items():
        if name in (ADAPTIVE, EMA_STATISTICS) and name not in parts:
            continue  # saved before augmentation was adaptive, or statistics were averaged
        if name not in parts:
            raise StorageError(f"checkpoint has no {name}; expected {', '.join(groups)}")
        expected = {
            key: (tuple(variable.shape), variable.dtype.as_numpy_dtype)
            for key, variable in variables.items()
        }
        found[name] = arrays.unpack(parts[name], expected, name)
    for name, values in found.items():
        for key, array in values.items():
            groups[name][key].assign(array)
    if EMA_STATISTICS in groups and EMA_STATISTICS not in found:
        for key, average in groups[EMA_STATISTICS].items():
            average.assign(found["generator.npz"][key])
    networks.generator_optimizer.learning_rate = spec.training.generator_optimizer.learning_rate
    networks.discriminator_optimizer.learning_rate = (
        spec.training.discriminator_optimizer.learning_rate
    )


def _groups(networks: Networks) -> dict[str, dict[str, tf.Variable]]:
    groups = {
        "generator.npz": _named(networks.generator.variables),
        "discriminator.npz": _named(networks.discriminator.variables),
        "generator_optimizer.npz": _named(networks.generator_optimizer.variables),
        "discriminator_optimizer.npz": _named(networks.discriminator_optimizer.variables),
    }
    if networks.ema:
        names = [variable.path for variable in generator_weights(networks.generator)]
        averages = list(zip(names, networks.ema, strict=True))
        num_trained = len(networks.generator.trainable_variables)
        groups["generator_ema.npz"] = dict(averages[:num_trained])
        if statistics := dict(averages[num_trained:]):
            groups[EMA_STATISTICS] = statistics
    if networks.adaptive:
        groups[ADAPTIVE] = networks.adaptive._asdict()
    return groups


def _named(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    return {variable.path: variable.value for variable in variables}


def _read(variable: tf.Variable) -> np.ndarray:
    """Copy the value of this worker's first replica; ``average_statistics`` makes all equal."""
    return np.array(variable.read_value())
