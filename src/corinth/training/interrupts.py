"""Ctrl-C and a polite kill: the loop finishes its step and saves; the second time nothing is waited for."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether the user asked to stop."""

    asked = False


@contextmanager
def stop_on_signal() -> Generator[Stop]:
    """Within the block the first SIGINT or SIGTERM sets `asked`; the second raises `KeyboardInterrupt`.

    The handlers that were there are put back. Outside the main thread, where Python cannot handle signals,
    nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
