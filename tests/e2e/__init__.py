"""Tests on a real Kubernetes cluster. They take minutes: only if DCGAN_E2E=1 (`make e2e`)."""
