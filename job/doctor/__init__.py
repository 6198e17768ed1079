"""The checks of `doctor`: this machine, the stores, the run and the workers. Starts no training."""
