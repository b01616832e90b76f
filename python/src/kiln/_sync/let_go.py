"""Ends what another thread waits for."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .answer import Answer


class LetGo:
    """A flag that, once set, breaks off the connection that is read meanwhile."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._answer: Answer | None = None

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            answer = self._answer
        if answer is not None:
            answer.abort()

    def wait(self, seconds: float) -> bool:
        """Sleeps, unless it is set meanwhile; returns whether it is."""
        return self._event.wait(seconds)

    @contextmanager
    def breaking(self, answer: Answer) -> Iterator[None]:
        """While this lasts, setting the flag breaks the answer off."""
        with self._lock:
            self._answer = answer
            late = self._event.is_set()
        if late:
            answer.abort()
        try:
            yield
        finally:
            with self._lock:
                self._answer = None
