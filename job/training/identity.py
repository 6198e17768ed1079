"""What a run folder belongs to: a model and a data set. A run that is neither is refused before it trains on the wrong weights."""

from typing import Any

from job.checkpoints.manifest import Manifest
from job.config.errors import ConfigError, DataError, StorageError
from job.config.load import build_model, to_dict
from job.config.spec import ModelSpec, RunSpec
from job.config.text import counted
from job.data.index import Index
from job.data.json_fields import shown
from job.data.order import ORDER_VERSION


def model_identity(spec: RunSpec) -> dict[str, Any]:
    """What decides the names and shapes of the saved state, as plain values."""
    return {
        **to_dict(spec.model),
        "generator_optimizer": spec.training.generator_optimizer.name,
        "discriminator_optimizer": spec.training.discriminator_optimizer.name,
        "averaged": spec.training.ema_decay > 0,
    }


def model_of(manifest: Manifest, uri: str) -> tuple[ModelSpec, str, bool]:
    """Return the model that ``model_identity`` wrote into a manifest, its precision, and whether weights were averaged.

    ``StorageError`` names ``uri`` and the key that is not one of a model that this program trains.
    """
    values = {
        key: value
        for key, value in manifest.model.items()
        if key not in ("generator_optimizer", "discriminator_optimizer")
    }
    is_averaged, precision = (
        values.pop("averaged", False),
        manifest.settings.get("training.precision", "float32"),
    )
    try:
        model = build_model(values)
    except ConfigError as error:
        raise StorageError(
            f"{uri}: step {manifest.step}: the manifest's {error!s:.300}; use another checkpoint"
        ) from None
    if precision not in ("float32", "bfloat16") or not isinstance(is_averaged, bool):
        raise StorageError(
            f"{uri}: step {manifest.step}: the manifest's training.precision is {shown(precision)} and model.averaged {shown(is_averaged)};"
            " expected float32 or bfloat16, and true or false; use another checkpoint"
        )
    return model, precision, is_averaged


def order_identity(spec: RunSpec) -> dict[str, int]:
    """What decides, with the data set, which image stands at which position: configuration keys, and the version of the arithmetic."""
    return {
        "seed": spec.seed,
        "training.global_batch_size": spec.training.global_batch_size,
        "order version": ORDER_VERSION,
    }


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """The whole configuration, flat: ``training.generator_optimizer.learning_rate`` and so on. Recorded with every checkpoint."""
    return _flat(to_dict(spec))


def changes(spec: RunSpec, newest: Manifest) -> dict[str, tuple[Any, Any]]:
    """Keys whose value is another now than when ``newest`` was saved: (then, now). None of them is refused; those that are, are not asked."""
    then, now = newest.settings, settings_of(spec)
    return {
        key: (then[key], value)
        for key, value in now.items()
        if key in then and then[key] != value and key not in ("uri", "preset")
    }


def check_identity(spec: RunSpec, index: Index, newest: Manifest, uri: str) -> None:
    """``ConfigError`` when the run folder at ``uri`` holds another model's or another data set's checkpoints, both values printed."""
    wanted, found = _flat(model_identity(spec)), _flat(newest.model)
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise ConfigError(
                f"{uri}: holds checkpoints of another model: {key} is {found.get(key)!r} there and {wanted.get(key)!r} in this configuration;"
                " expected the same model, or another run folder (uri)"
            )
    if newest.data_fingerprint != index.fingerprint:
        raise ConfigError(
            f"{uri}: was trained on data {newest.data_fingerprint[:16]}, {spec.data.uri} is {index.fingerprint[:16]};"
            " expected the same images, or another run folder (uri)"
        )
    wanted_order = order_identity(spec)
    for key, value in wanted_order.items():
        if newest.order.get(key) != value:
            raise ConfigError(
                f"{uri}: was trained with {key} {newest.order.get(key)}, this configuration has {value}; expected the same,"
                " because the order of images hangs on it, or another run folder (uri)"
            )


def check_images(spec: RunSpec, index: Index) -> None:
    """The images must have the model's shape, and be enough for one global batch."""
    wanted = (*spec.model.image_size, spec.model.channels)
    if tuple(index.image_shape) != wanted:
        found = "x".join(map(str, index.image_shape))
        raise ConfigError(
            f"{spec.data.uri}: images are {found}, the model takes {'x'.join(map(str, wanted))} (height x width x channels);"
            " expected equal shapes: set model.image_size and model.channels,"
            f" or pack again with --size {wanted[0]}x{wanted[1]} --channels {wanted[2]}"
        )
    if index.num_rows < spec.training.global_batch_size:
        raise DataError(
            f"{spec.data.uri}: {counted(index.num_rows, 'image')}; expected at least one global batch of {spec.training.global_batch_size}"
            f" (training.global_batch_size). Lower it to at most {index.num_rows}, or pack more images"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix.rstrip("."): values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat
