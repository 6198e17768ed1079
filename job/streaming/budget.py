"""How much of the cache a worker makes use of at the same time: with less, it would fetch the same shards again and again."""

from itertools import accumulate

from job.config.byte_size import bytes_text
from job.config.errors import ConfigError
from job.data.index import Index
from job.data.order import Order, Positions, needs

_EPOCHS = 3  # looked at; the others have other shards at the same time, but about as many


def bytes_in_use(order: Order, index: Index, positions: Positions, steps_per_call: int) -> int:
    """The most bytes of shards that the reader of ``positions`` needs for one call of ``steps_per_call`` steps, wherever calls begin."""
    changes: list[tuple[int, int]] = []
    until: dict[int, int] = {}
    for need in needs(order, positions, 0, _EPOCHS * order.steps_per_epoch):
        # In use from the call that reads its first step, which may begin up to K - 1 steps before, to its last step.
        begin, num_bytes = need.first_step - steps_per_call + 1, index.shards[need.shard].num_bytes
        if need.shard in until and begin > until[need.shard]:  # anew, after a time without
            changes.append((until.pop(need.shard), -num_bytes))
        if need.shard not in until:
            changes.append((begin, num_bytes))
        until[need.shard] = max(until.get(need.shard, 0), need.stop_step)
    changes += [(stop, -index.shards[number].num_bytes) for number, stop in until.items()]
    return max(
        accumulate(change for _, change in sorted(changes))
    )  # at the same step, what ends goes before what begins


def check_budget(
    cache_bytes: int, order: Order, index: Index, workers: list[Positions], steps_per_call: int
) -> None:
    """``ConfigError`` where ``cache_bytes`` cannot hold what ``workers``, all on one machine, need at the same time.

    A worker may use its equal part of the budget and no more, so all must do with what the neediest of them needs.
    """
    needed = len(workers) * max(
        bytes_in_use(order, index, positions, steps_per_call) for positions in workers
    )
    if cache_bytes < needed:
        largest = max(shard.num_bytes for shard in index.shards)
        who = (
            "this worker reads"
            if len(workers) == 1
            else f"the {len(workers)} workers of a machine read"
        )
        raise ConfigError(
            f"data.cache_bytes is {bytes_text(cache_bytes)}; expected at least {bytes_text(needed)}, because {who} that much at the same time, in"
            f" shards of {bytes_text(largest)}: raise data.cache_bytes, or pack the images again with a smaller --shard-bytes"
        )
