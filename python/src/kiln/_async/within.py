"""Gives up what takes too long."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._wire.deadline import Deadline


@contextmanager
def within(deadline: Deadline, what: str) -> Iterator[None]:
    """Cancels the block when the deadline passes. Raises KilnTimeoutError then."""
    with anyio.move_on_after(deadline.remaining) as scope:
        yield
    if scope.cancelled_caught:
        raise deadline.error(what)
