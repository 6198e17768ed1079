"""Fetch-ahead: holds the shards that one worker reads now, and brings those it will read next.

Knows which shards are needed at which steps, not what is in them. What is needed sooner is fetched sooner. A worker holds no more than its share of
the cache's budget, so that the workers of a machine, who wait for each other at every step, never wait for each other's room.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from job.config.errors import StorageError
from job.data.index import Shard
from job.data.order import Need
from job.streaming.cache import Held
from job.streaming.events import StreamListener
from job.streaming.keeper import Keeper
from job.streaming.pace import Patience

MAX_HELD = 512  # shards held at once: each is an open file


class _Coming(NamedTuple):
    """A shard that is held, or will be; ``patience`` begins to count when the reader waits for it."""

    held: Future[Held]
    patience: Patience


class FetchAhead:
    """Shards of one worker. ``advance`` and ``get`` are for one thread, the reader's; the fetching is done by ``threads`` others."""

    def __init__(
        self,
        shards: Sequence[Shard],
        needed: Iterator[Need],
        keeper: Keeper,
        *,
        ahead_steps: int,
        share_bytes: int,
        patience_seconds: float,
        threads: int,
        listener: StreamListener,
    ) -> None:
        self._shards, self._keeper, self._listener = shards, keeper, listener
        self._needed = needed
        self._next = next(needed, None)
        self._ahead_steps, self._share_bytes, self._patience_seconds = ahead_steps, share_bytes, patience_seconds
        self._coming: dict[int, _Coming] = {}
        self._stops: dict[int, int] = {}  # the step after the last at which a coming shard is needed, as far as that was looked at
        self._window: deque[Need] = deque()  # what is coming, the first needed first
        self._idle: OrderedDict[int, Held] = OrderedDict()  # no longer needed, kept while there is room: the next epoch may want them
        self._bytes = 0
        self._pool = ThreadPoolExecutor(threads, "fetch-ahead")

    def advance(self, first_step: int, stop_step: int) -> None:
        """Steps ``first_step ... stop_step - 1`` are read next: let go of what only earlier ones needed, and bring what later ones will."""
        for number in [number for number, stop in self._stops.items() if stop <= first_step]:
            self._retire(number)
        while self._next is not None and self._next.first_step < stop_step + self._ahead_steps:
            number = self._next.shard
            is_held = number in self._coming or number in self._idle
            if not is_held and not self._has_room(self._shards[number].num_bytes) and self._next.first_step >= stop_step:
                break
            self._bring(self._next)
            self._next = next(self._needed, None)
        while self._window and self._window[0].first_step < stop_step:
            self._window.popleft()
        self._tell_depth(stop_step)

    def get(self, number: int) -> Held:
        """Shard ``number`` of those that ``advance`` was told of; waits for it, and raises what its fetching ended with."""
        coming = self._coming[number]
        if coming.held.done() and isinstance(coming.held.exception(), StorageError):
            coming = self._coming[number] = self._fetch(
                number
            )  # it failed when nobody waited for it; the disk or the store may be well again
        coming.patience.wanted()
        return coming.held.result()

    def close(self) -> None:
        """Let go of everything. The fetcher must have been closed before, or this waits for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for coming in self._coming.values():
            if not coming.held.cancelled() and coming.held.exception() is None:
                coming.held.result().release()
        for held in self._idle.values():
            held.release()
        self._coming.clear()
        self._idle.clear()

    def _bring(self, need: Need) -> None:
        self._stops[need.shard] = max(self._stops.get(need.shard, 0), need.stop_step)
        self._window.append(need)
        if need.shard in self._coming:
            return
        if (held := self._idle.pop(need.shard, None)) is None:
            self._bytes += self._shards[need.shard].num_bytes
            self._coming[need.shard] = self._fetch(need.shard)
            return
        there: Future[Held] = Future()
        there.set_result(held)
        self._coming[need.shard] = _Coming(there, Patience(self._patience_seconds))
        self._listener.found()

    def _fetch(self, number: int) -> _Coming:
        patience = Patience(self._patience_seconds)
        return _Coming(self._pool.submit(self._keeper.hold, self._shards[number], patience), patience)

    def _retire(self, number: int) -> None:
        del self._stops[number]
        held = self._coming.pop(number).held.result()
        held.used()
        self._idle[number] = held

    def _has_room(self, num_bytes: int) -> bool:
        """Whether one more shard fits into this worker's share; shards that lie idle make way for it, the longest unused first."""
        while self._bytes + num_bytes > self._share_bytes or len(self._coming) + len(self._idle) >= MAX_HELD:
            if not self._idle:
                return False
            number, held = self._idle.popitem(last=False)
            held.release()
            self._bytes -= self._shards[number].num_bytes
        return True

    def _tell_depth(self, step: int) -> None:
        waiting = next((need.first_step for need in self._window if not self._coming[need.shard].held.done()), None)
        if waiting is None:
            waiting = self._next.first_step if self._next is not None else step + self._ahead_steps
        self._listener.ahead(max(0, min(waiting - step, self._ahead_steps)))
