"""Fetch-ahead: load the shards that one worker reads next into the cache, the first needed first.

Knows which shards are needed at which steps, not their content. A shard loaded ahead is not locked,
so another run that is short of room can evict it; it is then downloaded again. A worker loads no
more than its share of the budget, so the workers of a run never evict each other's.

The first call's shards come alone: a store that is too busy refuses requests of workers that start
together, and those for later shards would take the place of those that training waits for.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from job.config.errors import StorageError
from job.data.index import Shard
from job.data.order import Need
from job.storage.retry import Deadline
from job.streaming.cache import CachedShard, ShardCache
from job.streaming.events import StreamListener
from job.streaming.loader import ShardLoader

# For loads in flight to end; a request to a silent store has its own timeout and thread.
CLOSE_SECONDS = 2.0
_IMPATIENT_SECONDS = 1.0


class _Load(NamedTuple):
    """A shard being loaded ahead, or loaded; ``deadline`` starts when the reader waits for it."""

    future: Future[None]
    deadline: Deadline


class FetchAhead:
    """The shards of one worker. Methods are for one thread at a time; ``threads`` others load."""

    def __init__(
        self,
        shards: Sequence[Shard],
        needed: Iterator[Need],
        cache: ShardCache,
        loader: ShardLoader,
        *,
        ahead_steps: int,
        share_bytes: int,
        patience_seconds: float,
        threads: int,
        check_stopped: Callable[[], None],
        listener: StreamListener,
    ) -> None:
        """``check_stopped`` raises if the reader was closed in another thread."""
        self._shards, self._cache, self._loader = shards, cache, loader
        self._listener, self._check_stopped = listener, check_stopped
        self._needed, self._next = needed, next(needed, None)
        self._ahead_steps, self._share_bytes = ahead_steps, share_bytes
        self._patience_seconds = patience_seconds
        # Not past yet, the first needed first; each of their shards has a load.
        self._needs: list[Need] = []
        self._loads: dict[int, _Load] = {}
        # Downloads by the step that first needs them; without shards that were cached already.
        self._downloads: deque[tuple[int, Future[None]]] = deque()
        self._first_loads: list[Future[None]] = []  # of the first call
        self._num_calls = 0
        self._is_past_first = threading.Event()
        self._bytes = 0  # of the shards in ``_loads``
        self._is_short = False  # the share has no room for the next shard
        self._pool = ThreadPoolExecutor(threads, "fetch-ahead")

    def advance(self, first_step: int, stop_step: int) -> None:
        """Load the shards of the next steps ``first_step ... stop_step - 1`` and of later ones."""
        self._needs = [need for need in self._needs if need.stop_step > first_step]
        for number in self._loads.keys() - {need.shard for need in self._needs}:
            self._mark_used(number)
        while self._next is not None and self._next.first_step < stop_step + self._ahead_steps:
            shard = self._shards[self._next.shard]
            if self._next.shard not in self._loads:
                self._is_short = self._bytes + shard.num_bytes > self._share_bytes
                if self._is_short and self._next.first_step >= stop_step:
                    break
                self._start_load(self._next, is_ahead=self._next.first_step >= stop_step)
            self._needs.append(self._next)
            self._next = next(self._needed, None)
        self._num_calls += 1
        self._check_first_call()
        self._report(stop_step)

    def needed_at(self, first_step: int, stop_step: int) -> set[int]:
        """Return the shards, of those loaded, that steps ``first_step ... stop_step - 1`` need."""
        return {
            need.shard
            for need in self._needs
            if need.first_step < stop_step and need.stop_step > first_step
        }

    @property
    def spare_bytes(self) -> int:
        """Return the part of this worker's share that its loads leave."""
        return 0 if self._is_short else self._share_bytes - self._bytes

    def get(self, number: int, make_room: Callable[[], None]) -> CachedShard:
        """Return shard ``number``, one that ``advance`` loads; wait for it, or raise its error.

        ``make_room`` is called if that takes long: it should release every other shard.
        """
        load = self._loads[number]
        load.deadline.start()
        # A load that has not begun is cancelled: loading here does not wait behind others.
        if not load.future.cancel():
            while not wait([load.future], _IMPATIENT_SECONDS).done:
                self._check_stopped()
                make_room()
            error = load.future.exception()
            if error and (load.deadline.is_over or not isinstance(error, StorageError)):
                raise error
            # A disk or a store that failed while nobody waited may work again: try once more.
        shard, deadline = self._shards[number], Deadline(self._patience_seconds).start()
        cached = self._loader.load(shard, deadline, make_room)
        if load.future.cancelled() or load.future.exception():  # then no thread marked it
            self._cache.mark_needed(shard)
        return cached

    def close(self) -> None:
        """End the loads; the fetcher must be interrupted before."""
        self._is_past_first.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        futures = [load.future for load in self._loads.values()]
        wait([future for future in futures if not future.cancelled()], CLOSE_SECONDS)
        self._loads.clear()
        self._needs.clear()

    def _start_load(self, need: Need, is_ahead: bool) -> None:
        deadline, shard = Deadline(self._patience_seconds), self._shards[need.shard]
        self._bytes += shard.num_bytes
        if self._loader.is_verified(shard) and self._cache.mark_needed(shard):
            self._listener.found()
            future: Future[None] = Future()
            future.set_result(None)
        else:
            future = self._pool.submit(self._load, shard, deadline, is_ahead)
            if not self._num_calls and not is_ahead:
                self._first_loads.append(future)
                future.add_done_callback(lambda _: self._check_first_call())
            self._downloads.append((need.first_step, future))
        self._loads[need.shard] = _Load(future, deadline)

    def _check_first_call(self) -> None:
        """Let loads ahead begin, after the first call's loads or if a later call is read."""
        is_loaded = all(load.done() for load in self._first_loads)
        if self._num_calls > 1 or (self._num_calls == 1 and is_loaded):
            self._is_past_first.set()

    def _load(self, shard: Shard, deadline: Deadline, is_ahead: bool) -> None:
        if is_ahead:
            self._is_past_first.wait()
            self._check_stopped()
        cached = self._loader.load(shard, deadline)
        self._cache.mark_needed(shard)
        cached.release()

    def _mark_used(self, number: int) -> None:
        """Let a shard that no step ahead needs be evicted first."""
        future, shard = self._loads.pop(number).future, self._shards[number]
        self._bytes -= shard.num_bytes
        if future.cancel():
            self._cache.mark_used(shard)
        else:  # once it is loaded, or its load would mark it as needed
            future.add_done_callback(lambda _: self._cache.mark_used(shard))

    def _report(self, step: int) -> None:
        while self._downloads and self._downloads[0][1].done():
            self._downloads.popleft()
        following = self._next.first_step if self._next is not None else step + self._ahead_steps
        first_missing = self._downloads[0][0] if self._downloads else following
        self._listener.ahead(max(0, min(first_missing - step, self._ahead_steps)))
        self._listener.cache_holds(self._cache.used_bytes())
