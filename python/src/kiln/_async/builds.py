"""What the daemon builds and has built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import anyio

from .._wire.build_session import BuildSession, done
from .._wire.calls import templates as calls
from .._wire.deadline import Deadline
from ..errors import InternalError, KilnError
from ..types import BuildEnd
from .within import within

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterator, Mapping

    from ..types import Build, BuildEvent, EngineChoice
    from .transport import AsyncTransport


class AsyncBuilds:
    """Builds of templates. A build goes on when its client goes away."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def start(
        self,
        template: str | Mapping[str, Any],
        *,
        vcpu: int | None = None,
        memory_mib: int | None = None,
        engine: EngineChoice | None = None,
        step_timeout: int | None = None,
        request_timeout: float | None = None,
    ) -> Build:
        """Starts a build, or queues it; the same one twice at once is one build.

        template: name of a template, or a TemplateSpec (docs/templates.md), which is then known by its name.
        vcpu, memory_mib: of the snapshot, when not as the template says.
        engine: what its VMs are run by; "auto", as without it: the best that works on the host.
        step_timeout: seconds one step may take, when not as the daemon's configuration says.

        Raises TemplateNotFoundError, SpecInvalidError.
        """
        return await self._transport.call(
            calls.start_build(template, vcpu, memory_mib, engine, step_timeout), deadline=Deadline(request_timeout)
        )

    async def list(self, *, request_timeout: float | None = None) -> builtins.list[Build]:
        """Those under way, and the last that ended."""
        return await self._transport.call(calls.list_builds(), deadline=Deadline(request_timeout))

    async def get(self, build_id: str, *, request_timeout: float | None = None) -> Build:
        """Raises BuildNotFoundError."""
        return await self._transport.call(calls.get_build(build_id), deadline=Deadline(request_timeout))

    async def events(self, build_id: str) -> AsyncIterator[BuildEvent]:
        """A build's progress, from its beginning to its end; a connection that is cut is made again."""
        session = BuildSession(build_id)
        while True:
            failure = None
            try:
                async with await self._transport.send(session.request()) as answer:
                    session.begin()
                    async for chunk in answer:
                        for event in session.feed(chunk):
                            yield event
                            if session.ended:
                                return
            except KilnError as error:
                failure = error
            await anyio.sleep(session.cut(failure))

    async def wait(
        self,
        build_id: str,
        *,
        on_progress: Callable[[BuildEvent], None] | None = None,
        request_timeout: float | None = None,
    ) -> Build:
        """Returns when a build is done. Raises what made it fail."""
        with within(Deadline(request_timeout), f"build {build_id}"):
            async for event in self.events(build_id):
                if on_progress is not None:
                    on_progress(event)
                if isinstance(event, BuildEnd):
                    return done(event.build)
        raise InternalError("a build's events ended without its end")

    async def cancel(self, build_id: str, *, request_timeout: float | None = None) -> None:
        """Ends a build; one that has ended already is no error."""
        await self._transport.call(calls.cancel_build(build_id), deadline=Deadline(request_timeout))
