"""Ctrl-C and a polite kill: the loop finishes its step and saves; the second time nothing is waited for."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether the user asked to stop. Blocks may lie in blocks: what is asked of one is asked of all."""

    def __init__(self, outer: "Stop | None" = None) -> None:
        self._outer = outer
        self._asked = False

    @property
    def asked(self) -> bool:
        return self._asked or (self._outer is not None and self._outer.asked)

    def ask(self) -> None:
        self._asked = True
        if self._outer is not None:
            self._outer.ask()

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.ask()


@contextmanager
def stop_on_signal() -> Generator[Stop]:
    """Within the block the first SIGINT or SIGTERM sets `asked`; the second raises `KeyboardInterrupt`.

    The handlers that were there are put back. Outside the main thread, where Python cannot handle signals,
    nothing is changed.
    """
    around = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    stop = Stop(around if isinstance(around, Stop) else None)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
