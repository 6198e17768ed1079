"""dcgan-train: train a Keras 3 DCGAN on your images as a distributed batch job."""

import os

# TensorFlow and Keras read ~/.keras/keras.json, which can set another number type, image layout,
# epsilon or backend, or is broken and ends the program; without one they write it. So every process
# sets Keras' folder to one that cannot exist, before it imports anything else.
_NOWHERE = os.path.join(os.devnull, "keras")
# TensorFlow's pool keeps the memory of an operation's result for the next one. Without it, glibc's
# malloc gives most of it back to the kernel, which clears each page again: a quarter of a step.
_POOL = {"TF_CPU_ALLOCATOR_USE_BFC": "true", "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(1 << 20)}
_POOL = {name: os.environ.get(name, value) for name, value in _POOL.items()}
LIBRARY_ENV = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": _NOWHERE, **_POOL}
# What the user chose, for downloaded data sets; None: ~/.keras.
KERAS_FOLDER = os.environ.get("KERAS_HOME") if os.environ.get("KERAS_HOME") != _NOWHERE else None
os.environ |= LIBRARY_ENV
