"""Signals that arrive while libraries are loaded."""

import signal
import threading

import pytest

from job.launch.signals import held_signals


def test_the_handler_runs_at_the_end() -> None:
    before = signal.getsignal(signal.SIGINT)
    loaded = []

    def load() -> None:
        with held_signals():
            signal.raise_signal(signal.SIGINT)
            loaded.append(True)

    with pytest.raises(KeyboardInterrupt):
        load()
    assert loaded
    assert signal.getsignal(signal.SIGINT) is before


def test_each_held_signal_reaches_its_handler() -> None:
    got = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append("SIGTERM"))
    try:
        with pytest.raises(KeyboardInterrupt), held_signals():  # noqa: PT012
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert got == ["SIGTERM", "SIGTERM"]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_signal_is_still_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with held_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_may_train_in_another_thread() -> None:
    entered = []

    def load() -> None:
        with held_signals():
            entered.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert entered
