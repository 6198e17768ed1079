"""A run seen from outside: its workers' metrics several times a second, its stalls and lost steps.

Knows the metrics and the lines that name their addresses, never Ray.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.servers.prometheus import http

_EVERY_SECONDS = 0.2
_ADDRESS = re.compile(r"metrics of worker (\d+): (http://\S+/metrics)")


class Sample(NamedTuple):
    """A worker at ``address`` had done ``done`` steps since its start, and was at ``step``."""

    seconds: float
    address: str
    step: int
    done: int
    world_size: int


class Stall(NamedTuple):
    """The longest time without a step after a fault, and the steps trained twice."""

    seconds: float
    steps_lost: int


class Watch:
    """A context manager that reads in a thread. ``output`` returns the run's output so far."""

    def __init__(self, output: Callable[[], str]):
        self._output = output
        self._samples: list[Sample] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    @property
    def step(self) -> int:
        """The step of the run when it was last seen."""
        return self._samples[-1].step if self._samples else 0

    def world_sizes(self, since: float = 0.0) -> list[int]:
        """Return the number of workers of each attempt that trained after ``since`` (monotonic)."""
        return list(
            {
                sample.address: sample.world_size
                for sample in self._trained()
                if sample.seconds >= since
            }.values()
        )

    def address_of(self, rank: int) -> str | None:
        """IP address of the worker that has this rank now."""
        found = self._addresses().get(rank)
        return found.partition("://")[2].partition(":")[0] if found else None

    def stall(self, since: float) -> Stall:
        """The longest from ``since`` (of ``time.monotonic``) until now."""
        samples = self._trained()
        after = [i for i in range(1, len(samples)) if samples[i].seconds > since]
        assert after, "no step was trained after the fault"
        at = max(after, key=lambda i: samples[i].seconds - max(since, samples[i - 1].seconds))
        before, first = samples[:at], samples[at]
        is_new = first.address not in {sample.address for sample in before}
        lost = max(sample.step for sample in before) - (first.step - first.done) if is_new else 0
        return Stall(first.seconds - max(since, before[-1].seconds), max(0, lost))

    def _trained(self) -> list[Sample]:
        return [sample for sample in self._samples if sample.done]

    def _addresses(self) -> dict[int, str]:
        return {int(rank): address for rank, address in _ADDRESS.findall(self._output())}

    def _watch(self) -> None:
        seen: dict[str, int] = {}
        while not self._closed.wait(_EVERY_SECONDS):
            address = self._addresses().get(0)
            values = _values(address) if address else {}
            if address and values and values["dcgan_steps_total"] != seen.get(address, -1):
                seen[address] = int(values["dcgan_steps_total"])
                numbers = (
                    int(values.get(name, 0))
                    for name in ("dcgan_step", "dcgan_steps_total", "dcgan_world_size")
                )
                self._samples.append(Sample(time.monotonic(), address, *numbers))


def _values(address: str) -> dict[str, float]:
    """The plain series of one scrape; empty where nothing answers."""
    try:
        with http.open(address, timeout=1) as response:
            text = response.read().decode()
    except OSError:
        return {}
    return {
        name: float(value)
        for name, value in re.findall(r"^(dcgan_\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE)
    }
