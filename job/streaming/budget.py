"""The smallest cache for a worker: with less, it would download the same shards repeatedly."""

from itertools import accumulate

from job.config.errors import ConfigError
from job.config.text import bytes_text
from job.data.index import LABEL_BYTES, Index
from job.data.order import Order, Positions, needs

_EPOCHS = 3  # counted; others use other shards at the same time, but about as many


def bytes_in_use(
    order: Order,
    index: Index,
    positions: Positions,
    steps_per_call: int,
    *,
    with_labels: bool = False,
) -> int:
    """Return the largest number of bytes of shards that one train call reads at the same time."""
    label_bytes = LABEL_BYTES if with_labels else 0
    sizes = [shard.num_bytes + label_bytes * shard.num_rows for shard in index.shards]
    changes: list[tuple[int, int]] = []
    until: dict[int, int] = {}
    for need in needs(order, positions, 0, _EPOCHS * order.steps_per_epoch):
        # In use from the call with its first step, which may begin K - 1 steps earlier.
        begin, num_bytes = need.first_step - steps_per_call + 1, sizes[need.shard]
        if need.shard in until and begin > until[need.shard]:  # again, after a pause
            changes.append((until.pop(need.shard), -num_bytes))
        if need.shard not in until:
            changes.append((begin, num_bytes))
        until[need.shard] = max(until.get(need.shard, 0), need.stop_step)
    changes += [(stop, -sizes[number]) for number, stop in until.items()]
    # Sorted: at the same step, an end comes before a beginning.
    return max(accumulate(change for _, change in sorted(changes)))


def check_budget(
    cache_bytes: int,
    order: Order,
    index: Index,
    workers: list[Positions],
    steps_per_call: int,
    *,
    with_labels: bool = False,
) -> None:
    """Raise ``ConfigError`` if ``cache_bytes`` is too small for ``workers``, all on one host.

    Each may use an equal part of the budget, so that part must be enough for the one that needs
    most.
    """
    needed = len(workers) * max(
        bytes_in_use(order, index, positions, steps_per_call, with_labels=with_labels)
        for positions in workers
    )
    if cache_bytes < needed:
        largest = max(shard.num_bytes for shard in index.shards)
        num_workers = len(workers)
        who = (
            "this worker reads" if num_workers == 1 else f"the {num_workers} workers of a host read"
        )
        raise ConfigError(
            f"data.cache_bytes is {bytes_text(cache_bytes)}; expected at least"
            f" {bytes_text(needed)}, because {who} that much at the same time, in shards of"
            f" {bytes_text(largest)}: raise data.cache_bytes, or pack the images again with smaller"
            " --shard-bytes"
        )
