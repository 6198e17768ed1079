"""Secrets are masked, also URL-quoted, unless they may be ordinary text."""

import pytest

from job.telemetry.secrets import mask_secrets


def test_nothing_is_masked_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    assert mask_secrets("as it is") == "as it is"


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("test", "s3://test-images/runs: a test", "s3://test-images/runs: a test"),
        (
            "minioadmin",
            "http://minioadmin:9000 and file:///minioadmin",
            "http://minioadmin:9000 and file:///minioadmin",
        ),
        (
            "images-2024",
            "s3://images-2024/runs: the server said images-2024",
            "s3://images-2024/runs: the server said ***",
        ),
        (
            "images-2024",
            "cannot read 's3://images-2024/runs' (images-2024)",
            "cannot read 's3://images-2024/runs' (***)",
        ),
        ("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "***"),
        ("correct-horse-battery", "https://h/?k=correct-horse-battery", "https://h/?k=***"),
        ("", "ray://ray:pass-word@head:10001/a", "ray://ray:***@head:10001/a"),
        ("", "s3://bucket/12:30@noon and a://b:c/d@e", "s3://bucket/12:30@noon and a://b:c/d@e"),
        ("", "at http://joe:s3cret@h:5000/a (a@b)", "at http://joe:***@h:5000/a (a@b)"),
        ("", "https://abcd@h/a?b=c@d", "https://***@h/a?b=c@d"),
        ("", "s3://bucket/a@b and https://h/a@b", "s3://bucket/a@b and https://h/a@b"),
        ("", "http://h/?write_token=ab.c-d&x=1", "http://h/?write_token=***&x=1"),
        ("", "http://h/?x=1&token=ab for a token=", "http://h/?x=1&token=*** for a token="),
        ("two words/0123456789", "t=two%20words%2F0123456789", "t=***"),
    ],
)
def test_a_secret_that_can_be_a_word_of_the_message_stays(
    secret: str, text: str, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    assert mask_secrets(text) == masked
