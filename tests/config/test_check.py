"""Combinations of keys that cannot train, each refused before any process starts."""

import pytest

from job.config.errors import ConfigError
from job.config.load import load_run

REQUIRED = ["uri=runs/one", "data.uri=packed"]


def refusal(*overrides: str, preset: str | None = "notebook") -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(preset, None, [*REQUIRED, *overrides])
    return str(caught.value)


def test_combinations_that_cannot_train_are_refused() -> None:
    assert "expected alternating updates with batch normalization in D" in refusal(
        "model.discriminator.normalize=true", "training.updates=simultaneous"
    )
    assert "expected batch_norm: local" in refusal(
        "training.jit_compile=true", "training.batch_norm=synchronized"
    )
    assert "expected one of them" in refusal("training.epochs=null")
    assert "embedding_size is 5 without model.conditional, and changes nothing" in refusal(
        "model.generator.embedding_size=5"
    )
    assert "data.uri is not set" in refusal("data.uri=''")
    assert "workers.count is 1024; expected at most 1000, because more cannot pass" in refusal(
        "workers.count=1024", "training.global_batch_size=1024"
    )
    assert "workers.max is 1024; expected" in refusal("workers.max=1024")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["uri=s3://bucket/run", "watchdog.train_seconds=60", "data.fetch_patience_seconds=30"],
            "watchdog.train_seconds is 60; expected more than 160, because a grid may wait that"
            r" long for the store \(storage timeouts of 10 \+ 60 s, twice, and retries\)",
        ),
        (
            ["uri=runs/one", "watchdog.start_seconds=300"],
            r"watchdog.start_seconds is 300; expected more than 625, .*:"
            r" data.fetch_patience_seconds \(300\) twice, checkpoints",
        ),
        (
            ["uri=s3://bucket/run", "watchdog.start_seconds=765"],
            "watchdog.start_seconds is 765; expected more than 765",
        ),
    ],
)
def test_a_limit_below_the_waits_for_the_store_is_refused(settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_run("notebook", overrides=["data.uri=b", *settings])
