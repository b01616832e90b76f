"""One TCP connection to a port of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._daemon.endpoint import TcpEndpoint
from .._wire.addressing import host_of, target_of, token_headers
from .._wire.attempts import CONNECT_TIMEOUT_S, HTTP_FAILURES, ConnectionFailure, connection_error
from .._wire.upgrade import Upgrade
from ..errors import KilnError
from .network import open_tcp, open_unix

if TYPE_CHECKING:
    import socket

    from .._wire.deadline import Deadline
    from .._wire.request import Request
    from .transport import Transport


def connect(transport: Transport, request: Request, deadline: Deadline) -> socket.socket:
    """Asks the daemon for a raw connection and gives its socket. Raises what the daemon answers instead."""
    endpoint = transport.endpoint
    upgrade = Upgrade(
        request,
        target=target_of(endpoint, request),
        host=host_of(endpoint),
        headers=token_headers(endpoint, request),
    )
    sent = False
    try:
        connection = _open(transport, deadline)
        try:
            sent = True
            connection.settimeout(deadline.remaining)
            connection.sendall(upgrade.head)
            while upgrade.wanted > 0:
                deadline.check(request.name)
                connection.settimeout(deadline.remaining)
                data = connection.recv(upgrade.wanted)
                if data:
                    upgrade.feed(data)
                else:
                    upgrade.end()
            upgrade.check()
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
    except KilnError:
        raise
    except (*HTTP_FAILURES, OSError) as error:
        deadline.check(request.name)
        raise connection_error(ConnectionFailure(error, sent, False), request, str(endpoint)) from error
    return connection


def _open(transport: Transport, deadline: Deadline) -> socket.socket:
    endpoint = transport.endpoint
    timeout = deadline.at_most(CONNECT_TIMEOUT_S)
    if not isinstance(endpoint, TcpEndpoint):
        return open_unix(endpoint.socket_path, timeout)
    plain = open_tcp(endpoint.host, endpoint.port, timeout)
    if transport.ssl_context is None:
        return plain
    return transport.ssl_context.wrap_socket(plain, server_hostname=endpoint.host)
