"""An HTTP answer of a server in a sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .byte_stream import AsyncByteStream

if TYPE_CHECKING:
    from email.message import Message

    from .answer import AsyncAnswer


class AsyncPortResponse(AsyncByteStream):
    """Status and headers are there; the body comes as a stream. Whoever does not read it closes it."""

    def __init__(self, answer: AsyncAnswer) -> None:
        super().__init__(answer)
        self.status: int = answer.status
        self.headers: Message = answer.headers
        """Names in whatever case; ``get_all`` for those that come several times."""

    async def text(self) -> str:
        """All of the body as text in UTF-8. Raises UnicodeDecodeError when it is none."""
        return (await self.read_all()).decode()

    async def json(self) -> Any:
        """All of the body as JSON. Raises ValueError when it is none."""
        return json.loads(await self.read_all())
