"""The GAN itself: networks, losses, latents and one training step. Pure TensorFlow and Keras 3, no input and no output."""
