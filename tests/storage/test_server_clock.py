"""The offset of this machine's clock, from any answer of the server."""

from datetime import UTC, datetime, timedelta

import pytest

from job.config.storage import StorageSpec
from job.storage.server_clock import clock_offset
from tests.servers.scripted_s3 import Answer, s3_error, scripted_s3

pytestmark = pytest.mark.usefixtures("any_credentials")
LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, LISTING),
        s3_error(403, "AccessDenied", "Access Denied."),
        s3_error(403, "RequestTimeTooSkewed", "The difference is too large."),
    ],
)
def test_the_offset_is_in_every_answer(answer: Answer) -> None:
    with scripted_s3(lambda request: answer) as server:
        spec = StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        later = datetime.now(UTC) + timedelta(seconds=1000)
        assert clock_offset("s3://bucket/run", spec, lambda: later) == pytest.approx(1000, abs=5)


def test_without_an_answer_there_is_no_offset(free_port: int) -> None:
    spec = StorageSpec(endpoint_url=f"http://127.0.0.1:{free_port}", max_attempts=1)
    assert clock_offset("s3://bucket/run", spec) is None
