"""HTTP to one daemon, over its socket or TCP."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

import httpcore

from .._daemon.endpoint import LocalEndpoint, TcpEndpoint
from .._daemon.start import find_kiln, start_daemon
from .._wire.attempts import HTTP_FAILURES, Attempts
from .._wire.bodies import in_pieces, whole
from .._wire.calls import service
from .._wire.deadline import NEVER
from .._wire.error_body import error_of_answer
from .._wire.http import EARLY_BYTES, KEPT_CONNECTIONS, KEPT_S, MAX_JSON_BYTES, read_json, ssl_context_of, to_httpcore
from .._wire.lasting import Lasting
from .._wire.request import encode_json
from ..errors import KilnError
from .answer import Answer
from .network import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._daemon.endpoint import Endpoint
    from .._wire.bodies import Content
    from .._wire.deadline import Deadline
    from .._wire.request import Call, Request

T = TypeVar("T")


class Transport:
    """Sends requests, from any thread. Connections are kept and used again.

    autostart: whether the local daemon may be started when it does not run.
    command: what to start it with; found by ``find_kiln`` when None.
    """

    def __init__(self, endpoint: Endpoint, *, autostart: bool = True, command: Sequence[str] | None = None) -> None:
        self.endpoint = endpoint
        self.autostart = autostart and isinstance(endpoint, LocalEndpoint)
        self.command = command
        self.ssl_context = ssl_context_of(endpoint)
        self._own = self._connections(early_bytes=0)  # When the daemon has answered, sending is over.
        self._to_ports = self._connections(early_bytes=EARLY_BYTES)
        self._starting = threading.Lock()
        self._starts = 0
        self.lasting = Lasting()

    def send(self, request: Request, body: Content | None = None, deadline: Deadline = NEVER) -> Answer:
        """Sends a request and gives the answer when its head is there. Tries again where that is safe.

        Raises what the daemon answered, UnreachableError, ConnectionLostError, KilnTimeoutError.
        """
        attempts = Attempts(request, str(self.endpoint), may_start=self.autostart)
        while True:
            deadline.check(request.name)
            starts = self._starts
            try:
                answer = self._once(request, body, deadline)
            except HTTP_FAILURES as error:
                if deadline.passed and isinstance(error, httpcore.TimeoutException):
                    raise deadline.error(request.name) from error
                step = attempts.failed(error)
            else:
                return answer if request.any_status else _successful(answer, request)
            if step.start_daemon:
                self._start(starts)
            else:
                time.sleep(deadline.at_most(step.pause_s) or 0)

    def call(self, call: Call[T], body: Content | None = None, deadline: Deadline = NEVER) -> T:
        """Sends a request and reads its answer."""
        return read_json(call, self.send(call.request, body, deadline).read(MAX_JSON_BYTES, deadline))

    def ensure_running(self, deadline: Deadline) -> None:
        """Starts the daemon where that is needed, before something that is sent once."""
        self.call(service.health(), deadline=deadline)

    def close(self) -> None:
        """Closes the connections that wait for another request, and lets go of what lasts."""
        self.lasting.let_go()
        self._own.close()
        self._to_ports.close()

    def _once(self, request: Request, body: Content | None, deadline: Deadline) -> Answer:
        sent = to_httpcore(self.endpoint, request, _content(request, body), deadline)
        connections = self._to_ports if request.for_port else self._own
        response = connections.handle_request(sent)
        return Answer(response, request, str(self.endpoint), sent.extensions["timeout"])

    def _connections(self, early_bytes: int) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self.ssl_context,
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_S,
            uds=None if isinstance(self.endpoint, TcpEndpoint) else self.endpoint.socket_path,
            network_backend=Backend(early_bytes),
        )

    def _start(self, starts: int) -> None:
        """Starts the local daemon; several requests at once wait for the same start."""
        with self._starting:
            if self._starts != starts or not isinstance(self.endpoint, LocalEndpoint):
                return
            start_daemon(self.endpoint.home, self.command or find_kiln())
            self._starts += 1


def _content(request: Request, body: Content | None) -> bytes | Iterator[bytes] | None:
    """Made anew for each attempt: one that was not connected has taken nothing of a body that comes in pieces."""
    if request.json is not None:
        return encode_json(request.json)
    if body is None:
        return None
    content = whole(body)
    return in_pieces(body) if content is None else content


def _successful(answer: Answer, request: Request) -> Answer:
    """An answer of a good status, or what the daemon says is wrong."""
    if 200 <= answer.status < 300:
        return answer
    try:
        content = answer.read(MAX_JSON_BYTES, NEVER)
    except KilnError:
        content = b""
    raise error_of_answer(answer.status, content, request.name)
