"""Options of the storage section on commands that have no ``run.yaml``."""

import shlex

import click
import pytest
from click.testing import CliRunner

from job.cli.options import option_text, storage_options
from job.config.storage import StorageSpec

KEY = "arn:aws:kms:eu-west-1:111122223333:key/0a1b"


def parsed(*arguments: str) -> StorageSpec:
    found: list[StorageSpec] = []

    @click.command()
    @click.argument("run")
    @storage_options
    def command(run: str, storage: StorageSpec) -> None:
        found.append(storage)

    assert CliRunner().invoke(command, ["run", *arguments], catch_exceptions=False).exit_code == 0
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        ([], StorageSpec()),
        (
            ["--endpoint-url", "http://h:1", "--region", "r", "--virtual-host"],
            StorageSpec("http://h:1", "r", False),
        ),
        (
            [
                f"--set=storage.kms_key_id={KEY}",
                "--set=storage.server_side_encryption=aws:kms",
                "--path-style",
            ],
            StorageSpec(path_style=True, server_side_encryption="aws:kms", kms_key_id=KEY),
        ),
        (
            ["--set", "storage.request_payer=requester", "--set", "storage.max_attempts=2"],
            StorageSpec(request_payer="requester", max_attempts=2),
        ),
        (["--set", "storage.region=one", "--region", "two"], StorageSpec(region="two")),
    ],
)
def test_a_command_gets_the_storage_section_and_hands_it_on(
    arguments: list[str], spec: StorageSpec
) -> None:
    assert parsed(*arguments) == spec
    assert parsed(*shlex.split(option_text(spec))) == spec
