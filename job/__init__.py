"""dcgan-train: train a Keras 3 DCGAN on your images as a distributed batch job."""
