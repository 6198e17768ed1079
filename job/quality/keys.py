"""Keys of what scores need, beside the shards of a data set."""

CLASSIFIER = "quality/classifier.json"  # its description, written last
CLASSIFIER_NETWORK = "quality/classifier.keras"


def real_features_key(features_fingerprint: str, num_images: int) -> str:
    """Return the key of the features of the first ``num_images`` real images."""
    return f"quality/real-{features_fingerprint[:32]}-{num_images}.npz"
