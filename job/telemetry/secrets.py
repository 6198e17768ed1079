"""Replace secrets by ``***`` in messages and logs: of this process, and those inside URLs.

Secrets of this process are the values of ``SECRET_VARIABLES`` and the keys that boto3 finds
elsewhere (files, containers, instance roles), which ``job.storage`` adds when it signs a request.
"""

import os
import re
from collections import deque
from urllib.parse import quote

SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "RAY_AUTH_TOKEN",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "WANDB_API_KEY",
    "TRACKIO_WRITE_TOKEN",
    "HF_TOKEN",
)
MASK = "***"
# Test keys are often names ("test", "minioadmin") that also occur in paths and sentences.
# Amazon's have 40 letters.
MIN_SECRET_LENGTH = 8
MIN_SURE_LENGTH = 20
_PASSWORD = re.compile(r"(://[^\s/@:'\"]*:)[^\s/@'\"]+@")
_USER = re.compile(r"(https?://)[^\s/@:'\"]+@", re.IGNORECASE)  # without a password, a token
_QUERY = re.compile(r"([?&](?:\w*_)?(?:token|password|api_key)=)[^\s&#'\"]+", re.IGNORECASE)
_STORE_URI = re.compile(r"((?:s3|file)://[^\s'\"]+)")

_remembered: deque[str] = deque(maxlen=32)  # roles renew theirs every hour


def remember_secrets(*values: str | None) -> None:
    """Mask these too from now on."""
    _remembered.extend(value for value in values if value and value not in _remembered)


def mask_secrets(text: str) -> str:
    """Return ``text`` with each secret, also a URL-quoted one, replaced by ``***``.

    A secret that may be a word is kept, and one of fewer than 20 characters is kept in the URIs of
    stores, which may have the same name.
    """
    known = {*_remembered, *(os.environ.get(name, "") for name in SECRET_VARIABLES)}
    secrets = [
        value
        for value in known
        if len(value) >= MIN_SURE_LENGTH
        or (len(value) >= MIN_SECRET_LENGTH and not value.isalpha())
    ]
    text = _replaced(text, [value for value in secrets if len(value) >= MIN_SURE_LENGTH])
    if short := [value for value in secrets if len(value) < MIN_SURE_LENGTH]:
        text = "".join(
            part if _STORE_URI.fullmatch(part) else _replaced(part, short)
            for part in _STORE_URI.split(text)
        )
    text = _USER.sub(rf"\1{MASK}@", _PASSWORD.sub(rf"\1{MASK}@", text))
    return _QUERY.sub(rf"\1{MASK}", text)


def _replaced(text: str, secrets: list[str]) -> str:
    # Longest first: one value may be the beginning of another.
    for value in sorted(
        {*secrets, *(quote(value, safe="") for value in secrets)}, key=len, reverse=True
    ):
        text = text.replace(value, MASK)
    return text
