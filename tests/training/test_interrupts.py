"""Signals: the first asks, the second does not wait."""

import os
import signal
import threading

import pytest

from corinth.training.interrupts import stop_on_signal


def test_the_first_asks_and_the_second_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_is_heard_in_every_block_around_and_within() -> None:
    with stop_on_signal() as outer, stop_on_signal() as inner:
        outer.ask()  # as a thread, or a signal between the two
        assert inner.asked
    with stop_on_signal() as outer:
        with stop_on_signal():
            os.kill(os.getpid(), signal.SIGTERM)
        assert outer.asked
        with stop_on_signal() as later:
            assert later.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), stop_on_signal():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_handled() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with stop_on_signal() as stop:
            seen.append((stop.asked, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
