"""Write the records of a run into its folder: lease, attempts, status, metrics, logs, events."""
