"""The daemon's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.calls import disk as calls
from .._wire.deadline import Deadline

if TYPE_CHECKING:
    from ..types import Collected, DiskUsage
    from .transport import Transport


class Disk:
    """The daemon's disk: what takes how much of it, and what can go."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def usage(self, *, request_timeout: float | None = None) -> DiskUsage:
        """What takes how much of it."""
        return self._transport.call(calls.usage(), deadline=Deadline(request_timeout))

    def collect(
        self,
        *,
        dry_run: bool = False,
        keep: int = 0,
        older_than: float | None = None,
        request_timeout: float | None = None,
    ) -> Collected:
        """Removes what nothing needs: builds that no template's name stands for any more, and what was made from
        them. What is in use stays.

        dry_run: only says what would be removed.
        keep: builds of each template that are kept beside the present one, those used last.
        older_than: what was used less than so many seconds ago is kept; None for 0, and 7 days for logs.
        """
        return self._transport.call(calls.collect(dry_run, keep, older_than), deadline=Deadline(request_timeout))
