"""How much of the cache a worker cannot do without: the shards that it reads at the same time."""

import numpy as np

from job.config.byte_size import bytes_text
from job.config.errors import ConfigError
from job.data.index import Index
from job.data.order import Order, Slots, needs

_EPOCHS = 2  # looked at; the others have other shards at the same time, but about as many


def bytes_in_use(order: Order, index: Index, slots: Slots, steps_per_call: int) -> int:
    """The most bytes of shards that the reader of ``slots`` has in use at a time, when it reads ``steps_per_call`` steps at once."""
    found = list(needs(order, slots, 0, _EPOCHS * order.steps_per_epoch))
    sizes = np.array([index.shards[need.shard].num_bytes for need in found])
    # In use from the call that reads its first step, which may begin up to K - 1 steps before, to its last step.
    times = np.concatenate([[need.first_step - steps_per_call + 1 for need in found], [need.stop_step for need in found]])
    changes = np.concatenate([sizes, -sizes])
    by_time = np.lexsort((changes, times))  # at the same step, what ends goes before what begins
    return int(np.cumsum(changes[by_time]).max())


def check_budget(cache_bytes: int, order: Order, index: Index, slots: Slots, steps_per_call: int, sharers: int = 1) -> None:
    """``ConfigError`` where ``cache_bytes`` cannot hold what ``sharers`` workers like this one read at the same time."""
    needed = sharers * bytes_in_use(order, index, slots, steps_per_call)
    if cache_bytes < needed:
        largest = max(shard.num_bytes for shard in index.shards)
        workers = "this worker reads" if sharers == 1 else f"the {sharers} workers of this machine read"
        raise ConfigError(
            f"data.cache_bytes is {bytes_text(cache_bytes)}; expected at least {bytes_text(needed)}, because {workers} that much at the same time, in"
            f" shards of {bytes_text(largest)}: raise data.cache_bytes, or pack the images again with a smaller --shard-bytes"
        )
