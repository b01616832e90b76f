"""How long a stream that was cut is tried for again."""

from __future__ import annotations

import time

PATIENCE_S = 60.0
PAUSE_S = 0.2


class Patience:
    """Runs out when nothing has come for a minute after a cut."""

    def __init__(self) -> None:
        self._cut_since: float | None = None

    def renew(self) -> None:
        """Something came."""
        self._cut_since = None

    def lasts(self) -> bool:
        """Whether to try again after a cut, in ``PAUSE_S`` seconds."""
        now = time.monotonic()
        if self._cut_since is None:
            self._cut_since = now
        return now - self._cut_since <= PATIENCE_S
