"""The two networks of a run, as the ``model`` section of its configuration describes them."""

from dataclasses import dataclass

from job.config.fields import key, section


@dataclass(frozen=True)
class GeneratorSpec:
    """From a latent vector to an image in [-1, 1].

    A projection, an upsampling layer per further entry of `filters`, then the image layer.
    """

    latent_size: int = key(100, "Length of the latent vector, standard normal.", minimum=1)
    filters: tuple[int, ...] = key(
        (128, 64),
        "Channels of the projected map and of each upsampling layer; each doubles the size, and so"
        " does the image layer.",
    )
    kernel_size: int = key(5, "Side of the convolution kernels.", minimum=2)
    upsampling: str = key(
        "transposed",
        "`transposed` convolution, or `subpixel`: a smaller convolution, then pixels from"
        " channels.",
        choices=("transposed", "subpixel"),
    )
    activation: str = key(
        "selu", "Activation of the upsampling layers.", choices=("selu", "relu", "leaky_relu")
    )
    project_activation: bool = key(
        False, "Activation after the projection too (the paper does, the notebook does not)."
    )
    normalize: str = key(
        "after_activation",
        "Position of batch normalization.",
        choices=("before_activation", "after_activation", "none"),
    )
    batch_norm_momentum: float = key(
        0.99, "Decay of the moving statistics that samples use.", minimum=0, maximum=0.9999
    )


@dataclass(frozen=True)
class DiscriminatorSpec:
    """From an image to one logit.

    A stride-2 convolution for each entry of `filters`, leaky ReLU, dropout, then a dense layer.
    """

    filters: tuple[int, ...] = key((64, 128), "Channels of the stride-2 convolutions.")
    kernel_size: int = key(5, "Side of the convolution kernels.", minimum=2)
    leaky_slope: float = key(0.2, "Slope of the leaky ReLU below zero.", minimum=0, maximum=1)
    dropout: float = key(
        0.3, "Share of activations dropped after each convolution.", minimum=0, maximum=0.95
    )
    normalize: bool = key(False, "Batch normalization in all but the first layer (the paper).")


@dataclass(frozen=True)
class ModelSpec:
    """The two networks. Changing any of it makes another model: old checkpoints are refused."""

    image_size: tuple[int, int] = key(
        (28, 28),
        "Height and width in pixels, each divisible by 2 to the power of the number of"
        " `generator.filters`; one number means a square.",
    )
    channels: int = key(1, "1 for grey, 3 for RGB.", minimum=1, maximum=3)
    init_stddev: float | None = key(
        None,
        "Initial weights: normal with this deviation (the paper: 0.02); unset: Glorot uniform, the"
        " default of Keras.",
        above=0,
    )
    generator: GeneratorSpec = section(GeneratorSpec, "The generator.")
    discriminator: DiscriminatorSpec = section(DiscriminatorSpec, "The discriminator.")
