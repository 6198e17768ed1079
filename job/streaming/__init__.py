"""From packed shards, wherever they lie, to the pixels of the next steps: cache, fetching, fetch-ahead, reader. Knows no tensor."""
