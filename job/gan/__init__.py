"""The GAN itself: networks, losses, latents, one training step. TensorFlow and Keras 3, no I/O."""
