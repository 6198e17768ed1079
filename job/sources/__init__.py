"""Images from anywhere: folders, archives, arrays, object stores, Keras and drawn garments, decoded to rows of pixels. Knows no shard."""
