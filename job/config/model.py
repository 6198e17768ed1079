"""The two networks of a run, as the ``model`` section of its configuration describes them."""

from typing import Annotated, Literal

from pydantic import Field

from job.config.fields import FROM_TEXT, ImageSize, Positive, PositiveNumber, Section, Sizes


class GeneratorSpec(Section):
    """From a latent vector to an image in [-1, 1].

    A projection, an upsampling layer per further entry of `filters`, then the image layer.
    """

    latent_size: Positive = 100
    """Length of the latent vector, standard normal."""
    embedding_size: Positive | None = None
    """Length of the embedding of a class, with `model.conditional`; unset: the number of classes,
    at most `latent_size`."""
    filters: Sizes = (128, 64)
    """Channels of the projected map and of each upsampling layer; each doubles the size, and so
    does the image layer."""
    kernel_size: Annotated[int, Field(ge=2)] = 5
    """Side of the convolution kernels."""
    upsampling: Literal["transposed", "subpixel"] = "transposed"
    """`transposed` convolution, or `subpixel`: a smaller convolution, then pixels from channels."""
    activation: Literal["selu", "relu", "leaky_relu"] = "selu"
    """Activation of the upsampling layers."""
    project_activation: bool = False
    """Activation after the projection too (the paper does, the notebook does not)."""
    normalize: Literal["before_activation", "after_activation", "none"] = "after_activation"
    """Position of batch normalization."""
    batch_norm_momentum: Annotated[float, Field(ge=0, le=0.9999), FROM_TEXT] = 0.99
    """Decay of the moving statistics that samples use."""


class DiscriminatorSpec(Section):
    """From an image to one logit.

    A stride-2 convolution for each entry of `filters`, leaky ReLU, dropout, then a dense layer.
    """

    filters: Sizes = (64, 128)
    """Channels of the stride-2 convolutions."""
    kernel_size: Annotated[int, Field(ge=2)] = 5
    """Side of the convolution kernels."""
    leaky_slope: Annotated[float, Field(ge=0, le=1), FROM_TEXT] = 0.2
    """Slope of the leaky ReLU below zero."""
    dropout: Annotated[float, Field(ge=0, le=0.95), FROM_TEXT] = 0.3
    """Share of activations dropped after each convolution."""
    normalize: bool = False
    """Batch normalization in all but the first layer (the paper)."""
    spectral_norm: bool = False
    """Spectral normalization of all kernels (arXiv:1802.05957)."""


class ModelSpec(Section):
    """The two networks. Changing any of it makes another model: old checkpoints are refused."""

    image_size: ImageSize = (28, 28)
    """Height and width in pixels, each divisible by 2 to the power of the number of
    `generator.filters`; one number means a square."""
    channels: Annotated[int, Field(ge=1, le=3)] = 1
    """1 for grey, 3 for RGB."""
    conditional: bool = False
    """Train on the classes of the images too, so that images of a class can be generated; needs
    packed images that all have a class."""
    init_stddev: PositiveNumber | None = None
    """Initial weights: normal with this deviation (the paper: 0.02); unset: Glorot uniform, the
    default of Keras."""
    generator: GeneratorSpec = GeneratorSpec()
    discriminator: DiscriminatorSpec = DiscriminatorSpec()
