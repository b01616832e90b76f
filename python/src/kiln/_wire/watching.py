"""The lines of a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InternalError
from . import answers
from .fields import Fields
from .lines import LineDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import WatchEvent


class Watching:
    """Reads what the daemon tells of changes, once it has said that it watches.

    path: what is watched. An overflow concerns all of it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines = LineDecoder()
        self.ready = False
        """Whether nothing is missed any more."""

    def feed(self, data: bytes) -> Iterator[WatchEvent]:
        for value in self._lines.feed(data):
            fields = Fields(value, "change")
            kind = fields.text("type")
            if not self.ready:
                if kind != "ready":
                    raise InternalError("the daemon did not say that it watches")
                self.ready = True
            elif kind == "overflow":
                yield answers.watch_event({"path": self._path, "type": kind})
            else:
                yield answers.watch_event(value)
