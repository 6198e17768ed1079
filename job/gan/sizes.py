"""The sizes of the generator, by arithmetic: a manifest is checked before anything is allocated.

Knows no tensor, and loads neither TensorFlow nor Keras.
"""

from typing import NamedTuple

from job.config.model import GeneratorSpec, ModelSpec


class Sizes(NamedTuple):
    """Numbers in the trainable weights, the moving statistics, and a layer's largest output."""

    num_trainable: int
    num_statistics: int
    largest_output: int


def embedding_size(spec: GeneratorSpec, num_classes: int) -> int:
    """Return the number of values that a class is embedded in."""
    return spec.embedding_size or min(spec.latent_size, num_classes)


def generator_sizes(model: ModelSpec, num_classes: int = 0) -> Sizes:
    """Return the sizes of ``build_generator(model, ...)``; ``num_classes`` is 0 without classes."""
    spec = model.generator
    height, width = (side // 2 ** len(spec.filters) for side in model.image_size)
    channels = spec.filters[0]
    of_class = embedding_size(spec, num_classes) if num_classes else 0
    num_inputs, num_projected = spec.latent_size + of_class, height * width * channels
    num_trainable = num_classes * of_class + (num_inputs + 1) * num_projected
    largest = max(num_classes, num_inputs, num_projected)
    for filters in (*spec.filters[1:], model.channels):
        num_outputs = 4 * filters if spec.upsampling == "subpixel" else filters
        num_trainable += (spec.kernel_size**2 * channels * num_outputs) + num_outputs
        height, width, channels = 2 * height, 2 * width, filters
        largest = max(largest, height * width * channels)
    num_normalized = 0 if spec.normalize == "none" else sum(spec.filters)
    return Sizes(num_trainable + 2 * num_normalized, 2 * num_normalized, largest)
