"""Each event of the loop reaches every listener, in order."""

import inspect

import pytest

from job.training.listeners import Driver, Listener, Listeners, Requests

EVENTS = sorted(name for name in vars(Listener) if name.startswith("on_"))


class Named(Listener):
    """Writes its name and each event into a common list."""

    def __init__(self, name: str, heard: list[tuple[object, ...]]) -> None:
        for event in EVENTS:
            setattr(self, event, lambda *values, event=event: heard.append((name, event, *values)))


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_all_listeners_in_order(event: str) -> None:
    heard: list[tuple[object, ...]] = []
    listeners = Listeners(Named("first", heard), Listener(), Named("second", heard))
    arguments = tuple(range(len(inspect.signature(getattr(Listener, event)).parameters) - 1))
    getattr(listeners, event)(*arguments)
    assert heard == [("first", event, *arguments), ("second", event, *arguments)]


def test_a_driver_requests_nothing_by_default() -> None:
    assert Driver().requests() == Requests(stop=False, save=False)
