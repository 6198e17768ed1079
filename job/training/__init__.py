"""Training: strategy, input, checkpoints and the loop of one worker process. Knows no Ray."""
