"""The identity of a run: model, data set and sample order. Its run folder accepts no other."""

from typing import Any

from job.checkpoints.manifest import Manifest
from job.config.documents import flat
from job.config.errors import ConfigError, DataError, StorageError
from job.config.load import build_model, to_dict
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.text import counted
from job.config.validation import shown
from job.data.index import ImageClass, Index
from job.data.order import ORDER_VERSION, Order
from job.gan.sizes import embedding_size, generator_sizes

_STREAMS, _EMBEDDING_SIZE = "data.streams", "generator.embedding_size"
# An unset `metrics.host` is set when the workers start.
_NOT_COMPARED = ("uri", "preset", "metrics.host")
MAX_CLASSES, MAX_CLASS_NAME = 1024, 64  # with all of them a manifest is still below its limit


def model_identity(spec: RunSpec) -> dict[str, Any]:
    """Return the settings that decide the names and shapes of the saved state."""
    return {
        **to_dict(spec.model),
        "generator_optimizer": spec.training.generator_optimizer.name,
        "discriminator_optimizer": spec.training.discriminator_optimizer.name,
        "averaged": spec.training.is_averaged,
    }


def classes_of(spec: RunSpec, index: Index) -> tuple[ImageClass, ...]:
    """Return the classes that the networks are conditioned on; ``()`` if they are not."""
    return (index.classes or ()) if spec.model.conditional else ()


def model_of(manifest: Manifest, uri: str) -> tuple[ModelSpec, str, bool]:
    """Return a manifest's model, its precision, and whether its weights were averaged.

    A conditional model has the manifest's ``classes``, another one none. Raises ``StorageError``
    with ``uri`` and the key if it is not a model of this program.
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
    if model.conditional != bool(manifest.classes):
        raise StorageError(
            f"{where} model.conditional is {model.conditional} and it has"
            f" {len(manifest.classes)} classes; expected classes exactly if it is conditional; use"
            " another checkpoint"
        )
    return _with_embedding_size(model, manifest), precision, is_averaged


def _with_embedding_size(model: ModelSpec, manifest: Manifest) -> ModelSpec:
    """Return ``model`` with the embedding size of a manifest of the same model.

    Manifests of earlier versions have none: it was ``latent_size`` in the first ones, then the
    default of today. The bytes of the weights decide.
    """
    saved = manifest.model.get("generator", {})
    if not model.conditional:
        return model
    if "embedding_size" in saved:
        return _embedding(model, saved["embedding_size"])
    num_bytes = sum(part.num_bytes for part in manifest.parts if part.name == "generator.npz")

    def difference(model: ModelSpec) -> int:
        sizes = generator_sizes(model, len(manifest.classes))
        return abs(num_bytes - 4 * (sizes.num_trainable + sizes.num_statistics))

    return min(
        _embedding(model, None), _embedding(model, model.generator.latent_size), key=difference
    )


def _embedding(model: ModelSpec, size: int | None) -> ModelSpec:
    generator = model.generator.model_copy(update={"embedding_size": size})
    return model.model_copy(update={"generator": generator})


def order_of(spec: RunSpec, index: Index) -> Order:
    """Return the order of samples of a run."""
    rows = tuple(shard.num_rows for shard in index.shards)
    return Order(rows, spec.training.global_batch_size, spec.seed, spec.data.streams)


def order_identity(spec: RunSpec) -> dict[str, int]:
    """Return the settings that decide, with the data set, the order of samples."""
    identity = {
        "seed": spec.seed,
        "training.global_batch_size": spec.training.global_batch_size,
        "order version": ORDER_VERSION,
    }
    # Absent if unset, as in the manifests of earlier versions.
    return identity | ({_STREAMS: spec.data.streams} if spec.data.streams else {})


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Return the whole configuration by dotted keys, as it is saved with every checkpoint."""
    return flat(to_dict(spec))


def changes(spec: RunSpec, newest: Manifest) -> dict[str, tuple[Any, Any]]:
    """Return (then, now) of each setting that has changed since ``newest`` was saved."""
    then, now = newest.settings, settings_of(spec)
    return {
        key: (then[key], value)
        for key, value in now.items()
        if key in then and then[key] != value and key not in _NOT_COMPARED
    }


def check_identity(spec: RunSpec, index: Index, newest: Manifest, uri: str) -> None:
    """Raise ``ConfigError`` if the checkpoints at ``uri`` are of another model, data or order."""
    # Earlier versions saved no key that exists since: their model has its default.
    wanted = flat(model_identity(spec))
    found = flat(to_dict(ModelSpec())) | flat(newest.model)
    for key in sorted((wanted.keys() | found.keys()) - {_EMBEDDING_SIZE}):
        _check_same(uri, key, found.get(key), wanted.get(key))
    names, saved = (
        [each.name for each in classes] for classes in (classes_of(spec, index), newest.classes)
    )
    if names != saved:
        raise ConfigError(
            f"{uri}: holds checkpoints of other classes: {shown(saved)} there, {shown(names)} in"
            f" {spec.data.uri}; expected the same names in the same order, or another run folder"
            " (uri)"
        )
    sizes = (
        embedding_size(model.generator, len(names))
        for model in (_with_embedding_size(spec.model, newest), spec.model)
    )
    _check_same(uri, f"model.{_EMBEDDING_SIZE}", *sizes)
    if newest.data_fingerprint != index.fingerprint:
        raise ConfigError(
            f"{uri}: was trained on data {newest.data_fingerprint[:16]}, {spec.data.uri} is"
            f" {index.fingerprint[:16]}; expected the same images, or another run folder (uri)"
        )
    order = order_identity(spec)
    for key in (*order, _STREAMS):
        then, now = (found.get(key, "unset") for found in (newest.order, order))
        if then != now:
            raise ConfigError(
                f"{uri}: was trained with {key} {then}, this configuration has"
                f" {now}; they must match: the order of samples depends on it."
                " Change it back, or choose another run folder (uri)"
            )


def _check_same(uri: str, key: str, found: Any, wanted: Any) -> None:
    if wanted != found:
        raise ConfigError(
            f"{uri}: holds checkpoints of another model: {key} is {found!r} there and {wanted!r} in"
            " this configuration; expected the same value, to resume this run, or another run"
            " folder (uri)"
        )


def check_images(spec: RunSpec, index: Index) -> None:
    """Raise an error unless the images have the model's shape and fill one global batch.

    Those of a conditional model must all have a class.
    """
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

    if spec.model.conditional:
        _check_classes(spec.data.uri, index)


def _check_classes(uri: str, index: Index) -> None:
    """Raise ``ConfigError`` unless all images have a class, and a manifest can hold the classes."""
    where, remedy = f"model.conditional is true and {uri} has", "or set model.conditional to false"
    if not index.is_labelled:
        num_labelled = sum(each.num_rows for each in index.classes or ())
        found = (
            f"{num_labelled:,} of {index.num_rows:,} images with a class"
            if num_labelled
            else "no classes"
        )
        raise ConfigError(
            f"{where} {found}; expected a class for every image: pack a folder with one folder per"
            f" class, or images with a file of labels, {remedy}"
        )
    classes = index.classes or ()
    longest = max(len(each.name) for each in classes)
    if len(classes) > MAX_CLASSES or longest > MAX_CLASS_NAME:
        raise ConfigError(
            f"{where} {len(classes):,} classes with names of up to {longest:,} characters; expected"
            f" at most {MAX_CLASSES:,} and {MAX_CLASS_NAME}: pack them with fewer or shorter names,"
            f" {remedy}"
        )
