"""Ray: the only folder that imports it. Clusters, the TensorflowTrainer, and what travels between driver and workers."""
