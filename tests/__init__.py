"""Every test's process imports the program before TensorFlow, so that it too ignores ``~/.keras/keras.json``."""

import job as job
