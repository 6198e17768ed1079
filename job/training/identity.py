"""The identity of a run: model, data set and sample order. Its run folder accepts no other."""

from typing import Any

from job.checkpoints.manifest import Manifest
from job.config.errors import ConfigError, DataError, StorageError
from job.config.load import build_model, to_dict
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.text import counted
from job.config.validation import shown
from job.data.index import Index
from job.data.order import ORDER_VERSION


def model_identity(spec: RunSpec) -> dict[str, Any]:
    """Return the settings that decide the names and shapes of the saved state."""
    return {
        **to_dict(spec.model),
        "generator_optimizer": spec.training.generator_optimizer.name,
        "discriminator_optimizer": spec.training.discriminator_optimizer.name,
        "averaged": spec.training.ema_decay > 0,
    }


def model_of(manifest: Manifest, uri: str) -> tuple[ModelSpec, str, bool]:
    """Return a manifest's model, its precision, and whether its weights were averaged.

    Raises ``StorageError`` with ``uri`` and the key if it is not a model of this program.
    """
    optimizers = ("generator_optimizer", "discriminator_optimizer")
    values = {key: value for key, value in manifest.model.items() if key not in optimizers}
    is_averaged = values.pop("averaged", False)
    precision = manifest.settings.get("training.precision", "float32")
    where = f"{uri}: step {manifest.step}: the manifest's"
    try:
        model = build_model(values)
    except ConfigError as error:
        raise StorageError(f"{where} {error!s:.300}; use another checkpoint") from None
    if precision not in ("float32", "bfloat16") or not isinstance(is_averaged, bool):
        raise StorageError(
            f"{where} training.precision is {shown(precision)} and model.averaged"
            f" {shown(is_averaged)}; expected float32 or bfloat16, and true or false; use another"
            " checkpoint"
        )
    return model, precision, is_averaged


def order_identity(spec: RunSpec) -> dict[str, int]:
    """Return the settings that decide, with the data set, the order of samples."""
    return {
        "seed": spec.seed,
        "training.global_batch_size": spec.training.global_batch_size,
        "order version": ORDER_VERSION,
    }


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Return the whole configuration by dotted keys, as it is saved with every checkpoint."""
    return _flat(to_dict(spec))


def changes(spec: RunSpec, newest: Manifest) -> dict[str, tuple[Any, Any]]:
    """Return (then, now) of each setting that has changed since ``newest`` was saved."""
    then, now = newest.settings, settings_of(spec)
    return {
        key: (then[key], value)
        for key, value in now.items()
        if key in then and then[key] != value and key not in ("uri", "preset")
    }


def check_identity(spec: RunSpec, index: Index, newest: Manifest, uri: str) -> None:
    """Raise ``ConfigError`` if the checkpoints at ``uri`` are of another model, data or order."""
    wanted, found = _flat(model_identity(spec)), _flat(newest.model)
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise ConfigError(
                f"{uri}: holds checkpoints of another model: {key} is {found.get(key)!r} there and"
                f" {wanted.get(key)!r} in this configuration; expected the same model, or another"
                " run folder (uri)"
            )
    if newest.data_fingerprint != index.fingerprint:
        raise ConfigError(
            f"{uri}: was trained on data {newest.data_fingerprint[:16]}, {spec.data.uri} is"
            f" {index.fingerprint[:16]}; expected the same images, or another run folder (uri)"
        )
    for key, value in order_identity(spec).items():
        if newest.order.get(key) != value:
            raise ConfigError(
                f"{uri}: was trained with {key} {newest.order.get(key)}, this configuration has"
                f" {value}; they must match: the order of samples depends on it."
                " Change it back, or choose another run folder (uri)"
            )


def check_images(spec: RunSpec, index: Index) -> None:
    """Raise an error unless the images have the model's shape and fill one global batch."""
    wanted = (*spec.model.image_size, spec.model.channels)
    if tuple(index.image_shape) != wanted:
        found = "x".join(map(str, index.image_shape))
        raise ConfigError(
            f"{spec.data.uri}: images are {found}, the model takes {'x'.join(map(str, wanted))}"
            " (height x width x channels); expected equal shapes: set model.image_size and"
            f" model.channels, or pack again with --size {wanted[0]}x{wanted[1]}"
            f" --channels {wanted[2]}"
        )
    if index.num_rows < spec.training.global_batch_size:
        raise DataError(
            f"{spec.data.uri}: {counted(index.num_rows, 'image')}; expected at least one global"
            f" batch of {spec.training.global_batch_size} (training.global_batch_size). Lower it to"
            f" at most {index.num_rows}, or pack more images"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix.rstrip("."): values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat
