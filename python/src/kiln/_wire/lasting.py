"""What goes on beside the calls."""

from __future__ import annotations

from typing import Callable


class Lasting:
    """Things that end with their client: each is known by the function that lets go of it."""

    def __init__(self) -> None:
        self._kept: set[Callable[[], None]] = set()

    def keep(self, let_go: Callable[[], None]) -> None:
        self._kept.add(let_go)

    def forget(self, let_go: Callable[[], None]) -> None:
        """It has ended by itself."""
        self._kept.discard(let_go)

    def let_go(self) -> None:
        """Ends all of them."""
        for let_go in list(self._kept):
            let_go()
