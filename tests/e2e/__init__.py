"""Tests against a real Kubernetes cluster. They take minutes, so they run where DCGAN_E2E=1 (`make e2e`), and are skipped elsewhere."""
