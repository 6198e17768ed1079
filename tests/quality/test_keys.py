"""The keys of what scores need: another extractor or number of images has another file."""

from job.quality.keys import real_features_key


def test_real_features_are_kept_by_extractor_and_number() -> None:
    keys = {real_features_key(each * 64, num) for each in "ab" for num in (20, 2000)}
    assert len(keys) == 4
    assert real_features_key("a" * 64, 20) == f"quality/real-{'a' * 32}-20.npz"
