"""How long a call may take as a whole."""

from __future__ import annotations

import time

from ..errors import KilnTimeoutError


class Deadline:
    """A moment after which a call is given up; ``Deadline(None)`` never comes.

    seconds: from now on.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def remaining(self) -> float | None:
        """Seconds left, not below 0; None for no limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at

    def at_most(self, seconds: float | None) -> float | None:
        """The shorter of that many seconds and what is left."""
        remaining = self.remaining
        if remaining is None or seconds is None:
            return seconds if remaining is None else remaining
        return min(seconds, remaining)

    def check(self, what: str) -> None:
        """Raises KilnTimeoutError when it has passed."""
        if self.passed:
            raise self.error(what)

    def error(self, what: str) -> KilnTimeoutError:
        return KilnTimeoutError(f"{what} took longer than {self._seconds} s", request=what)


NEVER = Deadline(None)
