"""From a source of images to shuffled shards and their index, in constant memory."""
