"""The state of a run as bytes and back: one ``.npz`` per network and optimizer, and ``generator.keras`` for everyone else.

Knows nothing of stores. An ``.npz`` is a zip of plain arrays named by variable; loading never unpickles.
"""

import io
from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from job.config.errors import DivergedError, StorageError
from job.config.spec import RunSpec
from job.gan.generator import build_generator
from job.gan.networks import Networks, dtype_policy
from job.storage.scratch import scratch_folder


class Exporter:
    """A second generator, of plain variables, that carries the weights people see: the averaged ones where averaging is on."""

    def __init__(self, spec: RunSpec):
        self._model = build_generator(spec.model, spec.seed, policy=dtype_policy(spec.training.precision))

    def load(self, networks: Networks) -> keras.Model:
        """The generator with the present weights; moving statistics are always those of the trained one."""
        trained = networks.ema or [variable.value for variable in networks.generator.trainable_variables]
        for target, source in zip(self._model.trainable_variables, trained, strict=True):
            target.assign(_read(source))
        for target, source in zip(self._model.non_trainable_variables, networks.generator.non_trainable_variables, strict=True):
            target.assign(_read(source.value))
        return self._model

    def to_keras(self, networks: Networks) -> bytes:
        """The content of ``generator.keras``."""
        with scratch_folder() as folder:
            path = folder / "generator.keras"
            self.load(networks).save(path)
            return path.read_bytes()


def take(networks: Networks, step: int) -> dict[str, bytes]:
    """Every part of the state, by file name; ``DivergedError`` rather than a checkpoint with a weight that is not finite."""
    parts = {}
    for name, variables in _groups(networks).items():
        arrays = {key: _read(variable) for key, variable in variables.items()}
        for key, array in arrays.items():
            if not np.isfinite(array.astype(np.float32)).all():
                raise DivergedError(
                    f"step {step}: {name.removesuffix('.npz')} {key} is not finite; expected finite weights. Lower the learning rates,"
                    " or go back: the last checkpoint is untouched"
                )
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        parts[name] = buffer.getvalue()
    return parts


def put(networks: Networks, parts: Mapping[str, bytes], spec: RunSpec) -> None:
    """Restore the state on this worker; every worker calls it with the same parts. Learning rates are those of ``spec``."""
    for name, variables in _groups(networks).items():
        if name not in parts:
            raise StorageError(f"checkpoint has no {name}; expected {', '.join(_groups(networks))}")
        with np.load(io.BytesIO(parts[name]), allow_pickle=False) as arrays:
            _check_names(name, variables, arrays.files)
            for key, variable in variables.items():
                array = arrays[key]
                if array.shape != tuple(variable.shape):
                    raise StorageError(f"{name}: {key} has shape {array.shape}; expected {tuple(variable.shape)}")
                variable.assign(array)
    networks.generator_optimizer.learning_rate = spec.training.generator_optimizer.learning_rate
    networks.discriminator_optimizer.learning_rate = spec.training.discriminator_optimizer.learning_rate


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


def _check_names(part: str, variables: Mapping[str, tf.Variable], found: Iterable[str]) -> None:
    missing, surplus = sorted(set(variables) - set(found)), sorted(set(found) - set(variables))
    if missing or surplus:
        raise StorageError(
            f"{part}: missing {missing[:3]}, not known here {surplus[:3]}; expected the variables of this model and optimizer"
        )


def _read(variable: tf.Variable) -> np.ndarray:
    """The value on this worker's first replica; after ``average_statistics`` it is the same on all."""
    return np.asarray(variable.read_value())
