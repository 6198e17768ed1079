"""The command line, one file per command. Imports no TensorFlow, Keras, Ray or boto3."""
