"""The answer to a request, as its bytes come."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from .._wire.attempts import HTTP_FAILURES, answer_cut
from .._wire.deadline import NEVER
from .._wire.http import headers_from
from ..errors import ConnectionLostError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import httpcore
    from typing_extensions import Self

    from .._wire.deadline import Deadline
    from .._wire.http import Timeouts
    from .._wire.request import Request


class Answer:
    """Status and headers are there, the body is on its way. Closing it early breaks the connection, which tells the
    daemon.
    """

    def __init__(self, response: httpcore.Response, request: Request, where: str, timeouts: Timeouts) -> None:
        """timeouts: those of the request, which httpcore looks at again when the body is read."""
        self.status = response.status
        self.headers = headers_from(response)
        self._response = response
        self._request = request
        self._where = where
        self._timeouts = timeouts
        self.bound(NEVER)

    def __iter__(self) -> Iterator[bytes]:
        """The body. Raises ConnectionLostError when it breaks off."""
        try:
            yield from self._response.iter_stream()
        except (*HTTP_FAILURES, OSError) as error:
            raise answer_cut(error, self._request, self._where) from error
        finally:
            self.close()

    def bound(self, deadline: Deadline) -> None:
        """Limits how long may be waited for the body; without this only its beginning was limited. Call it before the
        body is read.
        """
        self._timeouts["read"] = deadline.at_most(self._request.silence_s)

    def read(self, limit: int, deadline: Deadline) -> bytes:
        """All of the body. Raises TooLargeError when it is longer than ``limit`` bytes; KilnTimeoutError."""
        content = bytearray()
        self.bound(deadline)
        try:
            for chunk in self:
                content += chunk
                if len(content) > limit:
                    raise TooLargeError(f"more than {limit} bytes", hint="read it as a stream")
                deadline.check(self._request.name)
        except ConnectionLostError:
            deadline.check(self._request.name)
            raise
        finally:
            self.close()
        return bytes(content)

    def close(self) -> None:
        with suppress(*HTTP_FAILURES, OSError):
            self._response.close()

    def abort(self) -> None:
        """Breaks the connection off; whoever reads in another thread sees it cut."""
        stream = self._response.extensions.get("network_stream")
        connection = None if stream is None else stream.get_extra_info("socket")
        if isinstance(connection, socket.socket):
            with suppress(OSError):  # It has ended already.
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
