"""The command line: one file a command. Importing it loads neither TensorFlow, Keras, Ray nor boto3."""
