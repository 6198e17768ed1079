"""Simulate how the workers of a run start and fetch, against a store with S3's published limits.

A discrete-event simulation in seconds of simulated time. A worker reads the index, lists the hangs,
restores the checkpoint and downloads shards as the program does: the same shards in the same order,
ranges, connections, waits between retries and reaction to "slow down", all imported from it. The
store, the network and the moments at which processes start are assumptions.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from job.data.order import Order, needs, worker_positions
from job.storage.retry import wait_seconds
from job.streaming.fetch import RANGE_BYTES
from job.streaming.pace import Pace

GETS_PER_SECOND = (
    5500  # GET, HEAD and LIST of one prefix; S3's user guide, "Optimizing performance"
)
LATENCY_SECONDS = 0.03  # until the first byte of an answer
CONNECTION_BYTES = 90e6  # per second and connection
START_SECONDS = 2.0  # between the first process to start and the last

Process = Generator["float | deque[Process]", None, None]
"""Yields the seconds to sleep, or the queue in which it waits until it is started again."""


class Clock:
    """Simulated time, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Process]] = []
        self._numbers = itertools.count()

    def start(self, process: Process, delay: float = 0.0) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._numbers), process))

    def release(self, waiting: "deque[Process]", count: float = math.inf) -> None:
        """Start up to ``count`` of the processes that wait, the longest waiting first."""
        while waiting and count >= 1:
            self.start(waiting.popleft())
            count -= 1

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, process = heapq.heappop(self._queue)
            pause = next(process, None)
            if isinstance(pause, deque):
                pause.append(process)
            elif pause is not None:
                self.start(process, pause)
        self.now = max(self.now, until)


class Store:
    """Grants ``per_second`` requests to each prefix, a second's worth at once; refuses the rest."""

    def __init__(self, clock: Clock, per_second: float = GETS_PER_SECOND) -> None:
        self._clock, self._per_second = clock, per_second
        self._tokens: dict[str, tuple[float, float]] = {}  # left, and when
        self.granted = self.refused = 0
        self.num_bytes = self.longest_wait = 0.0  # the latter of one request, with its retries

    def grants(self, prefix: str) -> bool:
        left, since = self._tokens.get(prefix, (self._per_second, 0.0))
        left = min(self._per_second, left + (self._clock.now - since) * self._per_second)
        is_granted = left >= 1
        self._tokens[prefix] = left - is_granted, self._clock.now
        self.granted += is_granted
        self.refused += not is_granted
        return is_granted


class Client:
    """The requests of one worker."""

    def __init__(self, clock: Clock, store: Store, connections: int, seed: int) -> None:
        self._clock, self._store, self._random = clock, store, random.Random(seed)
        self._connections, self._running = connections, 0
        self._pace = Pace(connections, lambda: clock.now)
        self._waiting: deque[Process] = deque()

    def request(self, prefix: str, num_bytes: float = 0.0, is_paced: bool = False) -> Process:
        """Read ``num_bytes``, retried until the store grants it."""
        begun, seconds = self._clock.now, LATENCY_SECONDS + num_bytes / CONNECTION_BYTES
        for attempt in itertools.count(1):
            while is_paced and self._running + 1 > self._pace.limit:
                yield self._waiting
            self._running += is_paced
            is_granted = self._store.grants(prefix)
            yield seconds if is_granted else LATENCY_SECONDS
            if is_paced:
                self._running -= 1
                self._pace.mark_succeeded() if is_granted else self._pace.slow_down()
                self._clock.release(self._waiting, self._pace.limit - self._running)
            if is_granted:
                self._store.num_bytes += num_bytes
                waited = self._clock.now - begun - seconds
                self._store.longest_wait = max(self._store.longest_wait, waited)
                return
            yield wait_seconds(attempt, self._random.random())

    def download(
        self,
        prefixes: Iterable[str],
        num_bytes: float,
        on_range: Callable[[int], object] = lambda number: None,
    ) -> None:
        """Start the threads that read a range of each of ``prefixes``, the first ones first."""
        ranges = enumerate(prefixes)

        def thread() -> Process:
            for number, prefix in ranges:
                yield from self.request(prefix, num_bytes, is_paced=True)
                on_range(number)

        for _ in range(self._connections):
            self._clock.start(thread())


@dataclass(frozen=True)
class Plan:
    """A run that starts. ``parts`` are the bytes of each part of the checkpoint.

    Variants: with ``is_broadcast`` only the chief reads the checkpoint; without
    ``is_first_call_alone`` loads ahead begin with those of the first call; ``prefixes`` is over how
    many the shards are spread.
    """

    order: Order
    shard_bytes: int
    num_workers: int
    index_bytes: int
    parts: tuple[int, ...]
    steps_per_call: int
    fetch_ahead: int
    share_bytes: float
    connections: int
    prefixes: int = 1
    is_broadcast: bool = False
    is_first_call_alone: bool = True


@dataclass
class Started:
    """Seconds until all workers restored, and until each had the images of its first call."""

    restored: float = 0.0
    first_images: list[float] = field(default_factory=list)
    granted: int = 0
    refused: int = 0
    num_bytes: float = 0.0
    longest_wait: float = 0.0


def simulate_start(plan: Plan, limit_seconds: float = 3600.0) -> Started:
    """Start all workers, with an empty cache, until each has the images of its first call."""
    clock, found = Clock(), Started()
    store, num_met = Store(clock), 0
    met: deque[Process] = deque()
    chosen: deque[Process] = deque()
    is_chosen = False

    def worker(rank: int) -> Process:
        nonlocal num_met, is_chosen
        client = Client(clock, store, plan.connections, rank)
        yield from client.request("data", plan.index_bytes)
        yield from client.request("run")  # LIST of hangs
        num_met += 1
        while num_met < plan.num_workers:  # the first collective operation
            yield met
        clock.release(met)
        if rank == 0:
            yield from client.request("run")  # LIST of checkpoints
            yield from checkpoint(client)
            is_chosen = True
            clock.release(chosen)
        while not is_chosen:  # the chief broadcasts which one
            yield chosen
        if rank and not plan.is_broadcast:
            yield from checkpoint(client)
        found.restored = max(found.restored, clock.now)
        prefixes, num_first = _ranges(plan, rank)
        num_bytes, num_left = min(RANGE_BYTES, plan.shard_bytes), num_first

        def on_range(number: int) -> None:
            nonlocal num_left
            if number < num_first:
                num_left -= 1
                if not num_left:
                    found.first_images.append(clock.now)
                    client.download(rest, num_bytes)

        alone = num_first if plan.is_first_call_alone else len(prefixes)
        rest = prefixes[alone:]
        client.download(prefixes[:alone], num_bytes, on_range)

    def checkpoint(client: Client) -> Process:
        yield from client.request("run")  # the manifest
        for num_bytes in plan.parts:
            yield from client.request("run")  # HEAD
            yield from client.request("run", num_bytes)

    for rank in range(plan.num_workers):
        clock.start(worker(rank), START_SECONDS * rank / plan.num_workers)
    while len(found.first_images) < plan.num_workers and clock.now < limit_seconds:
        clock.run(clock.now + 0.5)
    found.granted, found.refused = store.granted, store.refused
    found.num_bytes, found.longest_wait = store.num_bytes, store.longest_wait
    return found


def _ranges(plan: Plan, rank: int) -> tuple[list[str], int]:
    """Return the prefix of each range that a worker loads, and how many its first call needs."""
    positions = worker_positions(plan.order, rank, plan.num_workers)
    first_steps: dict[int, int] = {}  # by shard, the first needed first
    for need in needs(plan.order, positions, 0, plan.steps_per_call + plan.fetch_ahead):
        first_steps.setdefault(need.shard, need.first_step)
    num_ranges = -(-plan.shard_bytes // RANGE_BYTES)
    num_first = sum(step < plan.steps_per_call for step in first_steps.values())
    shards = list(first_steps)[: max(num_first, int(plan.share_bytes // plan.shard_bytes))]
    prefixes = [f"data{shard % plan.prefixes or ''}" for shard in shards for _ in range(num_ranges)]
    return prefixes, num_first * num_ranges


def fetch_rate(
    num_workers: int, connections: int, prefixes: int = 1, seconds: float = 20.0
) -> tuple[float, float]:
    """Return the ranges granted and refused per second, if all workers fetch without a pause.

    Those of the second half of ``seconds``.
    """
    clock = Clock()
    store = Store(clock)
    for rank in range(num_workers):
        names = (f"data{number % prefixes or ''}" for number in itertools.count(rank))
        Client(clock, store, connections, rank).download(names, RANGE_BYTES)
    clock.run(seconds / 2)
    granted, refused = store.granted, store.refused
    clock.run(seconds)
    return (store.granted - granted) / (seconds / 2), (store.refused - refused) / (seconds / 2)
