"""Fetch-ahead: brings the shards that one worker reads next into the cache, the sooner needed the sooner.

Knows which shards are needed at which steps, not what is in them. What is brought lies in the cache without a lock, so another run that is short
of room can have it; it is then fetched again. A worker brings no more than its share of the budget, so the workers of a run never take each other's.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from job.config.errors import StorageError
from job.data.index import Shard
from job.data.order import Need
from job.storage.retry import Deadline
from job.streaming.cache import Held
from job.streaming.events import StreamListener
from job.streaming.keeper import Keeper

CLOSE_SECONDS = 2.0  # for what is under way to end; a request to a silent store ends with its own timeout, in its own thread
_IMPATIENT_SECONDS = 1.0


class _Coming(NamedTuple):
    """A shard on its way into the cache, or there; ``deadline`` begins to count when the reader waits for it."""

    brought: Future[None]
    deadline: Deadline


class FetchAhead:
    """Shards of one worker. All methods are for one thread at a time; the fetching is done by ``threads`` others."""

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
        self._ahead_steps, self._share_bytes, self._patience_seconds = (
            ahead_steps,
            share_bytes,
            patience_seconds,
        )
        self._needs: list[
            Need
        ] = []  # not past yet, the first needed first; their shards are coming
        self._coming: dict[int, _Coming] = {}
        self._arriving: deque[tuple[int, Future[None]]] = (
            deque()
        )  # what was not there when it was brought, by the step that first needs it
        self._bytes = 0  # of the shards that are coming
        self._is_short = False  # the share had no room for all that was to be brought
        self._pool = ThreadPoolExecutor(threads, "fetch-ahead")

    def advance(self, first_step: int, stop_step: int) -> None:
        """Steps ``first_step ... stop_step - 1`` are read next: bring the shards that they need, and those that later ones will."""
        self._needs = [need for need in self._needs if need.stop_step > first_step]
        for number in self._coming.keys() - {need.shard for need in self._needs}:
            self._let_go(number)
        while self._next is not None and self._next.first_step < stop_step + self._ahead_steps:
            shard = self._shards[self._next.shard]
            if self._next.shard not in self._coming:
                self._is_short = self._bytes + shard.num_bytes > self._share_bytes
                if self._is_short and self._next.first_step >= stop_step:
                    break
                self._bring(self._next)
            self._needs.append(self._next)
            self._next = next(self._needed, None)
        self._tell(stop_step)

    def needed_at(self, first_step: int, stop_step: int) -> set[int]:
        """Those of the shards brought so far that steps ``first_step ... stop_step - 1`` need."""
        return {
            need.shard
            for need in self._needs
            if need.first_step < stop_step and need.stop_step > first_step
        }

    @property
    def spare_bytes(self) -> int:
        """What is left of this worker's share when all is there that it was to bring."""
        return 0 if self._is_short else self._share_bytes - self._bytes

    def get(self, number: int, make_room: Callable[[], None]) -> Held:
        """Shard ``number`` of those that the steps need which ``advance`` was told of; waits for it, and raises what its fetching ended with.

        ``make_room`` is called when that takes long: it should let go of every other shard, in case all room is taken.
        """
        coming = self._coming[number]
        coming.deadline.start()
        if (
            not coming.brought.cancel()
        ):  # it has begun; what has not is not waited for behind others
            while not wait([coming.brought], _IMPATIENT_SECONDS).done:
                self._keeper.check()
                make_room()
            error = coming.brought.exception()
            if error is not None and (
                coming.deadline.is_over or not isinstance(error, StorageError)
            ):
                raise error
            # A disk or a store that failed when nobody waited for it may be well again: asked once more.
        deadline = Deadline(self._patience_seconds)
        deadline.start()
        return self._keeper.hold(self._shards[number], deadline, make_room)

    def close(self) -> None:
        """End the fetching; the fetcher must have been told to stop before."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(
            [coming.brought for coming in self._coming.values() if not coming.brought.cancelled()],
            CLOSE_SECONDS,
        )
        self._coming.clear()
        self._needs.clear()

    def _bring(self, need: Need) -> None:
        deadline, shard = Deadline(self._patience_seconds), self._shards[need.shard]
        self._bytes += shard.num_bytes
        if self._keeper.has(shard):
            brought: Future[None] = Future()
            brought.set_result(None)
        else:
            brought = self._pool.submit(self._keeper.bring, shard, deadline)
            self._arriving.append((need.first_step, brought))
        self._coming[need.shard] = _Coming(brought, deadline)

    def _let_go(self, number: int) -> None:
        """No step to come needs it, as far as was looked ahead: it may be the first to go."""
        brought, shard = self._coming.pop(number).brought, self._shards[number]
        self._bytes -= shard.num_bytes
        if brought.cancel():
            self._keeper.let_go(shard)
        else:  # once it is there: or it would stay among the last to go
            brought.add_done_callback(lambda _: self._keeper.let_go(shard))

    def _tell(self, step: int) -> None:
        while self._arriving and self._arriving[0][1].done():
            self._arriving.popleft()
        following = self._next.first_step if self._next is not None else step + self._ahead_steps
        waiting = self._arriving[0][0] if self._arriving else following
        self._listener.ahead(max(0, min(waiting - step, self._ahead_steps)))
        self._listener.cache_holds(self._keeper.cache_bytes())
