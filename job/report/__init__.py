"""What people read of a run: status, curves, the report. Readers only; knows no tensor and no Ray."""
