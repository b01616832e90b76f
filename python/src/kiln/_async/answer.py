"""The answer to a request, as its bytes come."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .._wire.attempts import HTTP_FAILURES, answer_cut
from .._wire.http import headers_from
from ..errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    import httpcore
    from typing_extensions import Self

    from .._wire.request import Request

CLOSE_S = 1.0
"""A connection is closed even where the task is cancelled; that sends nothing, and takes no longer than this, in
seconds.
"""


class AsyncAnswer:
    """Status and headers are there, the body is on its way. Closing it early breaks the connection, which tells the
    daemon.
    """

    def __init__(self, response: httpcore.Response, request: Request, where: str) -> None:
        self.status = response.status
        self.headers = headers_from(response)
        self._response = response
        self._request = request
        self._where = where

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body. Raises ConnectionLostError when it breaks off."""
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except (*HTTP_FAILURES, OSError, anyio.ClosedResourceError) as error:
            raise answer_cut(error, self._request, self._where) from error

    async def read(self, limit: int) -> bytes:
        """All of the body. Raises TooLargeError when it is longer than ``limit`` bytes."""
        content = bytearray()
        async with self:
            async for chunk in self:
                content += chunk
                if len(content) > limit:
                    raise TooLargeError(f"more than {limit} bytes", hint="read it as a stream")
        return bytes(content)

    async def aclose(self) -> None:
        with anyio.move_on_after(CLOSE_S, shield=True), suppress(*HTTP_FAILURES, OSError):
            await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
