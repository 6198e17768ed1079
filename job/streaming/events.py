"""Events of streaming, for metrics and benchmarks. Knows no listener."""

from typing import Literal, Protocol, get_args

from job.storage.store import REASONS, Reason

# Why something was downloaded again: a failed request, a wrong hash, or a deleted cache folder.
Retry = Reason | Literal["corrupt", "cache_lost"]
RETRIES: tuple[str, ...] = (*REASONS, *get_args(Literal["corrupt", "cache_lost"]))


class StreamListener(Protocol):
    """Called from several threads at once."""

    def requested(self) -> None:
        """A request to the store begins."""

    def received(self, num_bytes: int) -> None:
        """Bytes arrived; those of a request that failed later count too."""

    def retried(self, reason: Retry) -> None:
        """Something is downloaded again."""

    def fetched(self, seconds: float) -> None:
        """A shard was downloaded and verified within ``seconds``."""

    def found(self) -> None:
        """A shard was already cached."""

    def cache_holds(self, num_bytes: int) -> None:
        """The size of the cache folder now."""

    def ahead(self, num_batches: int) -> None:
        """Global batches, from the current one on, whose shards are all cached."""


class NullListener:
    """A ``StreamListener`` that does nothing."""

    def requested(self) -> None: ...

    def received(self, num_bytes: int) -> None: ...

    def retried(self, reason: Retry) -> None: ...

    def fetched(self, seconds: float) -> None: ...

    def found(self) -> None: ...

    def cache_holds(self, num_bytes: int) -> None: ...

    def ahead(self, num_batches: int) -> None: ...
