"""HTTP to one daemon, over its socket or TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, TypeVar

import anyio
import httpcore
from anyio import to_thread

from .._daemon.endpoint import LocalEndpoint, TcpEndpoint
from .._daemon.start import find_kiln, start_daemon
from .._wire.attempts import HTTP_FAILURES, Attempts
from .._wire.bodies import whole
from .._wire.calls import service
from .._wire.deadline import NEVER
from .._wire.error_body import error_of_answer
from .._wire.http import EARLY_BYTES, KEPT_CONNECTIONS, KEPT_S, MAX_JSON_BYTES, read_json, ssl_context_of, to_httpcore
from .._wire.lasting import Lasting
from .._wire.request import encode_json
from ..errors import KilnError
from .answer import AsyncAnswer
from .background import Background
from .bodies import in_pieces
from .network import AsyncBackend
from .within import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from .._daemon.endpoint import Endpoint
    from .._wire.bodies import AsyncContent
    from .._wire.deadline import Deadline
    from .._wire.request import Call, Request

T = TypeVar("T")


class AsyncTransport:
    """Sends requests, from any task of one event loop. Otherwise like Transport."""

    def __init__(self, endpoint: Endpoint, *, autostart: bool = True, command: Sequence[str] | None = None) -> None:
        self.endpoint = endpoint
        self.autostart = autostart and isinstance(endpoint, LocalEndpoint)
        self.command = command
        self.ssl_context = ssl_context_of(endpoint)
        self.lasting = Lasting()
        self._own = self._connections(early_bytes=0)  # When the daemon has answered, sending is over.
        self._to_ports = self._connections(early_bytes=EARLY_BYTES)
        self._starting = anyio.Lock()
        self._starts = 0
        self._tasks: set[Background] = set()

    async def send(self, request: Request, body: AsyncContent | None = None, deadline: Deadline = NEVER) -> AsyncAnswer:
        """Sends a request and gives the answer when its head is there. Tries again where that is safe.

        Raises what the daemon answered, UnreachableError, ConnectionLostError, KilnTimeoutError.
        """
        with within(deadline, request.name):
            return await self._send(request, body)

    async def call(self, call: Call[T], body: AsyncContent | None = None, deadline: Deadline = NEVER) -> T:
        """Sends a request and reads its answer."""
        with within(deadline, call.request.name):
            answer = await self._send(call.request, body)
            content = await answer.read(MAX_JSON_BYTES)
        return read_json(call, content)

    async def ensure_running(self, deadline: Deadline) -> None:
        """Starts the daemon where that is needed, before something that is sent once."""
        await self.call(service.health(), deadline=deadline)

    def background(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> Background:
        """Begins a task that ends with this transport."""

        async def until_its_end() -> None:
            try:
                await work()
            finally:
                self._tasks.discard(task)

        task = Background(until_its_end, name)
        self._tasks.add(task)
        return task

    async def aclose(self) -> None:
        """Closes the connections that wait for another request, and lets go of what lasts."""
        self.lasting.let_go()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            for task in tasks:  # They close their connections themselves.
                await task.wait()
            await self._own.aclose()
            await self._to_ports.aclose()

    async def _send(self, request: Request, body: AsyncContent | None) -> AsyncAnswer:
        attempts = Attempts(request, str(self.endpoint), may_start=self.autostart)
        while True:
            starts = self._starts
            try:
                answer = await self._once(request, body)
            except HTTP_FAILURES as error:
                step = attempts.failed(error)
            else:
                return answer if request.any_status else await _successful(answer, request)
            if step.start_daemon:
                await self._start(starts)
            else:
                await anyio.sleep(step.pause_s)

    async def _once(self, request: Request, body: AsyncContent | None) -> AsyncAnswer:
        content = _content(request, body)
        connections = self._to_ports if request.for_port else self._own
        response = await connections.handle_async_request(to_httpcore(self.endpoint, request, content, NEVER))
        return AsyncAnswer(response, request, str(self.endpoint))

    def _connections(self, early_bytes: int) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=self.ssl_context,
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
            uds=None if isinstance(self.endpoint, TcpEndpoint) else self.endpoint.socket_path,
            network_backend=AsyncBackend(early_bytes),
        )

    async def _start(self, starts: int) -> None:
        """Starts the local daemon; several requests at once wait for the same start."""
        async with self._starting:
            if self._starts != starts or not isinstance(self.endpoint, LocalEndpoint):
                return
            command = self.command or find_kiln()
            await to_thread.run_sync(start_daemon, self.endpoint.home, command, abandon_on_cancel=True)
            self._starts += 1


def _content(request: Request, body: AsyncContent | None) -> bytes | AsyncIterator[bytes] | None:
    """Made anew for each attempt: one that was not connected has taken nothing of a body that comes in pieces."""
    if request.json is not None:
        return encode_json(request.json)
    if body is None:
        return None
    content = whole(body)
    return in_pieces(body) if content is None else content


async def _successful(answer: AsyncAnswer, request: Request) -> AsyncAnswer:
    """An answer of a good status, or what the daemon says is wrong."""
    if 200 <= answer.status < 300:
        return answer
    try:
        content = await answer.read(MAX_JSON_BYTES)
    except KilnError:
        content = b""
    raise error_of_answer(answer.status, content, request.name)
