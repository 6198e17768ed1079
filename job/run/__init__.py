"""What a run leaves for people beside its checkpoints: history, logs, its status, the report. Knows no tensor and no Ray."""
