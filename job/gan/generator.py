"""The generator: a latent vector ``[B, Z]`` to an image ``[B, H, W, C]`` in [-1, 1], float32.

A conditional one also takes the label of the image's class, int32 ``[B]``: its embedding is put
beside the latent vector (Mirza and Osindero 2014, arXiv:1411.1784). Embeddings begin with a norm of
1, at right angles if they have at least as many values as there are classes, like one-hot labels.
With a norm as large as the latent vector's, G made the same image of a class from any latent vector
(docs/training.md).

Built only from layers that ship with Keras, so that ``generator.keras`` loads anywhere, except for
training on a CPU. Radford et al. 2015 (arXiv:1511.06434); sub-pixel upsampling: Shi et al. 2016
(arXiv:1609.05158). The tutorial notebook's network: 7x7x128 > 14x14x64 > 28x28x1.
"""

import keras

from job.config.model import GeneratorSpec, ModelSpec
from job.gan.layers import Initializers, activation, one_hot
from job.gan.sizes import embedding_size
from job.gan.strided import FastConv2DTranspose


def build_generator(
    model: ModelSpec,
    seed: int,
    *,
    num_classes: int = 0,
    policy: str = "float32",
    synchronized: bool = False,
    for_cpu: bool = False,
) -> keras.Model:
    """Return a Keras functional model of latents, or of ``[latents, label]`` with classes.

    ``policy`` is a Keras dtype policy. With ``synchronized``, batch statistics are those of all
    replicas. ``for_cpu`` computes the same faster there, in layers that are not Keras' own.
    """
    spec = model.generator
    initializers = Initializers(seed, "generator", model.init_stddev)
    height, width = (side // 2 ** len(spec.filters) for side in model.image_size)
    project, *upsampled = spec.filters

    latents = keras.Input((spec.latent_size,), name="latents")
    inputs, x = latents, latents
    if num_classes:
        label = keras.Input((), dtype="int32", name="label")
        # Not a Keras embedding, whose sparse gradients need other collective operations.
        size = embedding_size(spec, num_classes)
        embedding = keras.layers.Dense(
            size,
            use_bias=False,
            kernel_initializer=initializers.embedding(num_classes, size),
            name="class_embedding",
            dtype=policy,
        )(one_hot(label, num_classes))
        inputs = [latents, label]
        x = keras.layers.Concatenate(name="latents_and_class", dtype=policy)([latents, embedding])
    x = keras.layers.Dense(
        height * width * project,
        kernel_initializer=initializers.kernel(),
        name="project",
        dtype=policy,
    )(x)
    x = keras.layers.Reshape((height, width, project), name="map", dtype=policy)(x)
    x = _norm_and_activation(
        x, spec, "project", active=spec.project_activation, policy=policy, synchronized=synchronized
    )
    for number, filters in enumerate(upsampled, start=1):
        name = f"upsample_{number}"
        x = _upsample(x, filters, spec, name, initializers, policy, for_cpu=for_cpu)
        x = _norm_and_activation(
            x, spec, name, active=True, policy=policy, synchronized=synchronized
        )
    x = _upsample(x, model.channels, spec, "image", initializers, policy, for_cpu=for_cpu)
    images = keras.layers.Activation("tanh", name="image_range", dtype="float32")(x)
    return keras.Model(inputs, images, name="generator")


def _upsample(
    x,
    filters: int,
    spec: GeneratorSpec,
    name: str,
    initializers: Initializers,
    policy: str,
    *,
    for_cpu: bool,
):
    """Double the size by a stride-2 transposed convolution, or by sub-pixel convolution."""
    if spec.upsampling == "transposed":
        layer = FastConv2DTranspose if for_cpu else keras.layers.Conv2DTranspose
        return layer(
            filters,
            spec.kernel_size,
            strides=2,
            padding="same",
            kernel_initializer=initializers.kernel(),
            name=name,
            dtype=policy,
        )(x)
    _, height, width, _ = x.shape
    x = keras.layers.Conv2D(
        4 * filters,
        spec.kernel_size,
        padding="same",
        kernel_initializer=initializers.kernel(),
        name=name,
        dtype=policy,
    )(x)
    # Depth to space, in layers that load with plain Keras:
    # [H, W, 2, 2, C] > [H, 2, W, 2, C] > [2H, 2W, C].
    x = keras.layers.Reshape((height, width, 2, 2, filters), name=f"{name}_split", dtype=policy)(x)
    x = keras.layers.Permute((1, 3, 2, 4, 5), name=f"{name}_interleave", dtype=policy)(x)
    return keras.layers.Reshape(
        (2 * height, 2 * width, filters), name=f"{name}_join", dtype=policy
    )(x)


def _norm_and_activation(
    x, spec: GeneratorSpec, name: str, *, active: bool, policy: str, synchronized: bool
):
    def norm(x):
        return keras.layers.BatchNormalization(
            momentum=spec.batch_norm_momentum,
            synchronized=synchronized,
            name=f"{name}_norm",
            dtype=policy,
        )(x)

    if spec.normalize == "before_activation":
        x = norm(x)
    if active:
        x = activation(spec.activation, policy)(x)
    if spec.normalize == "after_activation":
        x = norm(x)
    return x
