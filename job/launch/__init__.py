"""Ray, imported only here: clusters, the TensorflowTrainer, the mailbox of driver and workers."""
