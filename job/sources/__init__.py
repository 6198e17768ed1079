"""Images from folders, archives, arrays, object stores or Keras, decoded to rows of pixels."""
