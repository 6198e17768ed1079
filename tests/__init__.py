"""Import the program before TensorFlow, so that tests, too, ignore ``~/.keras/keras.json``."""

import job as job
