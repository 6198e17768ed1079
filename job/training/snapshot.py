"""The state of a run as bytes: ``.npz`` per network and optimizer, and ``generator.keras``.

Knows no stores. An ``.npz`` is a zip of plain arrays named by variable; loading never unpickles.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from job.checkpoints import arrays
from job.config.errors import DivergedError, StorageError
from job.config.spec import RunSpec
from job.gan.generator import build_generator
from job.gan.networks import Networks, dtype_policy
from job.storage.scratch import scratch_folder


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

    def __init__(self, spec: RunSpec):
        self._model = build_generator(
            spec.model, spec.seed, policy=dtype_policy(spec.training.precision)
        )

    def load(self, shown: Iterable[np.ndarray]) -> keras.Model:
        """Return the generator with these weights (``shown_weights``)."""
        targets = (*self._model.trainable_variables, *self._model.non_trainable_variables)
        for target, value in zip(targets, shown, strict=True):
            target.assign(value)
        return self._model

    def to_keras(self, shown: Iterable[np.ndarray]) -> bytes:
        """Return the content of ``generator.keras``."""
        with scratch_folder() as folder:
            path = folder / "generator.keras"
            self.load(shown).save(path)
            return path.read_bytes()


def shown_weights(networks: Networks) -> list[np.ndarray]:
    """Return the weights for ``Exporter``; moving statistics are never averaged over steps."""
    trained = networks.ema or [
        variable.value for variable in networks.generator.trainable_variables
    ]
    statistics = [variable.value for variable in networks.generator.non_trainable_variables]
    return [_read(variable) for variable in (*trained, *statistics)]


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
        names = (variable.path for variable in networks.generator.trainable_variables)
        groups["generator_ema.npz"] = dict(zip(names, networks.ema, strict=True))
    return groups


def _named(variables: Iterable[keras.Variable]) -> dict[str, tf.Variable]:
    return {variable.path: variable.value for variable in variables}


def _read(variable: tf.Variable) -> np.ndarray:
    """Copy the value of this worker's first replica; ``average_statistics`` makes all equal."""
    return np.array(variable.read_value())
