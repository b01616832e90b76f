"""The answer to a sandbox's creation that tells of a build on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectionLostError
from . import answers
from .error_body import to_error
from .fields import Fields
from .lines import LineDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import BuildEvent, SandboxInfo
    from .request import Request


class Creation:
    """Reads the lines: ``feed`` what comes, until ``sandbox`` is there."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._lines = LineDecoder()
        self.sandbox: SandboxInfo | None = None

    def feed(self, data: bytes) -> Iterator[BuildEvent]:
        """Raises the error a daemon tells of."""
        for value in self._lines.feed(data):
            fields = Fields(value, "line")
            kind = fields.text("type")
            if kind == "sandbox":
                self.sandbox = fields.of("sandbox", answers.sandbox_info)
                return
            if kind == "error":
                error = fields.of("error", to_error)
                error.request = self._request.name
                raise error
            event = answers.build_event(value)
            if event is not None:
                yield event

    def result(self) -> SandboxInfo:
        """The answer has ended. Raises ConnectionLostError when the sandbox was not told of."""
        if self.sandbox is None:
            raise ConnectionLostError(
                "the connection was lost before the sandbox was there", request=self._request.name
            )
        return self.sandbox
