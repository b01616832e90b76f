"""A build's progress, over as many connections as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BuildFailedError, ConnectionLostError, KilnError
from ..types import BuildEnd
from . import answers, patience
from .calls import templates
from .error_body import to_error
from .lines import LineDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import Build, BuildEvent
    from .request import Request

_CUT = {"CONNECTION_LOST", "UNREACHABLE", "SHUTTING_DOWN"}


class BuildSession:
    """Follows a build to its end. The daemon tells it from its beginning each time: what was told already is passed
    over.

    Driven like an OutputSession.
    """

    def __init__(self, build_id: str) -> None:
        self._build_id = build_id
        self._lines = LineDecoder()
        self._line = 0
        self._seen = 0
        self._patience = patience.Patience()
        self.ended = False

    def request(self) -> Request:
        return templates.build_events(self._build_id)

    def begin(self) -> None:
        self._lines = LineDecoder()
        self._line = 0

    def feed(self, data: bytes) -> Iterator[BuildEvent]:
        for value in self._lines.feed(data):
            self._line += 1
            if self._line <= self._seen:
                continue
            self._seen = self._line
            self._patience.renew()
            event = answers.build_event(value)
            self.ended = isinstance(event, BuildEnd)
            if event is not None:
                yield event
            if self.ended:
                return

    def cut(self, failure: KilnError | None) -> float:
        """The seconds to wait before the next connection. Raises the failure when another one does not help."""
        if failure is not None and failure.code not in _CUT:
            raise failure
        if not self._patience.lasts():
            raise ConnectionLostError(
                "the connection to the build was lost", request=self.request().name, hint="it goes on: look again later"
            ) from failure
        return patience.PAUSE_S


def done(build: Build) -> Build:
    """The build, when it is done. Raises what made it fail."""
    if build.state == "done":
        return build
    if build.error is None:
        raise BuildFailedError(f"the build of {build.template} ended as {build.state}", details={"build": build.id})
    error = build.error
    details = {**(error.details or {}), "build": build.id}
    raise to_error({"code": error.code, "message": error.message, "hint": error.hint, "details": details})
