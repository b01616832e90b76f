"""The templates there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.calls import templates as calls
from .._wire.deadline import Deadline

if TYPE_CHECKING:
    import builtins

    from ..types import Template
    from .transport import AsyncTransport


class AsyncTemplates:
    """Templates: built in, the user's own, and those made from sandboxes."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, *, request_timeout: float | None = None) -> builtins.list[Template]:
        """All of them, without their specs."""
        return await self._transport.call(calls.list_templates(), deadline=Deadline(request_timeout))

    async def get(self, name: str, *, request_timeout: float | None = None) -> Template:
        """A template with its spec. Raises TemplateNotFoundError."""
        return await self._transport.call(calls.get_template(name), deadline=Deadline(request_timeout))

    async def remove(self, name: str, *, request_timeout: float | None = None) -> None:
        """Removes what was built from it and no other template has, and the template if it is the user's own."""
        await self._transport.call(calls.remove_template(name), deadline=Deadline(request_timeout))
