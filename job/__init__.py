"""dcgan-train: train a Keras 3 DCGAN on your images as a distributed batch job."""

import os

# TensorFlow and Keras read ~/.keras/keras.json, which can set another number type, image layout,
# epsilon or backend, or is broken and ends the program; without one they write it. So every process
# sets Keras' folder to one that cannot exist, before it imports anything else.
_NOWHERE = os.path.join(os.devnull, "keras")
KERAS_ENV = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": _NOWHERE}
# What the user chose, for downloaded data sets; None: ~/.keras.
KERAS_FOLDER = os.environ.get("KERAS_HOME") if os.environ.get("KERAS_HOME") != _NOWHERE else None
os.environ |= KERAS_ENV
