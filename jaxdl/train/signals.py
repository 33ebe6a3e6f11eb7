"""Signals that ask a run to save its state and stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in the list that is yielded; a second signal acts as it did before."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only that thread may set handlers
        yield caught
        return
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}

    def catch(signum: int, frame: Any) -> None:
        caught.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    for signum in before:
        signal.signal(signum, catch)
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
