"""What streaming tells while it runs, for metrics and benchmarks. Knows nobody who listens."""

from typing import Literal, Protocol, get_args

from job.storage.store import REASONS, Reason

# Why something was fetched again: a request that broke off, bytes with a wrong hash, or a cache folder that was deleted meanwhile.
Retry = Reason | Literal["corrupt", "cache_lost"]
RETRIES: tuple[str, ...] = (*REASONS, *get_args(Literal["corrupt", "cache_lost"]))


class StreamListener(Protocol):
    """Called from several threads at once."""

    def requested(self) -> None:
        """A request to the store begins."""

    def received(self, num_bytes: int) -> None:
        """Bytes arrived; those of a request that broke off afterwards count too."""

    def retried(self, reason: Retry) -> None:
        """Something is fetched again."""

    def fetched(self, seconds: float) -> None:
        """A shard stands in the cache, verified, ``seconds`` after this process began to fetch it."""

    def found(self) -> None:
        """A shard was in the cache already."""

    def cache_holds(self, num_bytes: int) -> None:
        """Bytes that the cache folder takes now."""

    def ahead(self, num_batches: int) -> None:
        """Global batches from the one read now on for which every shard is there."""


class NullListener:
    """A ``StreamListener`` for whoever wants to know nothing."""

    def requested(self) -> None: ...

    def received(self, num_bytes: int) -> None: ...

    def retried(self, reason: Retry) -> None: ...

    def fetched(self, seconds: float) -> None: ...

    def found(self) -> None: ...

    def cache_holds(self, num_bytes: int) -> None: ...

    def ahead(self, num_batches: int) -> None: ...
