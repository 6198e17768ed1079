"""Send what a run records to MLflow, Weights & Biases or Trackio. Knows no tensor."""
