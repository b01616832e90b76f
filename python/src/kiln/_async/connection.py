"""One TCP connection to a port of a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from .._daemon.endpoint import TcpEndpoint
from .._wire.addressing import host_of, target_of, token_headers
from .._wire.attempts import CONNECT_TIMEOUT_S, ConnectionFailure, connection_error
from .._wire.upgrade import Upgrade
from ..errors import KilnError
from .unix_stream import UnixStream
from .within import within

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from .._wire.deadline import Deadline
    from .._wire.request import Request
    from .transport import AsyncTransport


async def connect(transport: AsyncTransport, request: Request, deadline: Deadline) -> ByteStream:
    """Asks the daemon for a raw connection and gives its stream. Raises what the daemon answers instead."""
    endpoint = transport.endpoint
    upgrade = Upgrade(
        request,
        target=target_of(endpoint, request),
        host=host_of(endpoint),
        headers=token_headers(endpoint, request),
    )
    connection = None
    try:
        with within(deadline, request.name):
            with anyio.fail_after(CONNECT_TIMEOUT_S):
                connection = await _open(transport)
            await connection.send(upgrade.head)
            while upgrade.wanted > 0:
                try:
                    upgrade.feed(await connection.receive(upgrade.wanted))
                except anyio.EndOfStream:
                    upgrade.end()
            upgrade.check()
    except BaseException as error:
        if connection is not None:
            await anyio.aclose_forcefully(connection)
        if isinstance(error, (OSError, anyio.BrokenResourceError)) and not isinstance(error, KilnError):
            failure = ConnectionFailure(error, connection is not None, False)
            raise connection_error(failure, request, str(endpoint)) from error
        raise
    return connection


async def _open(transport: AsyncTransport) -> ByteStream:
    endpoint = transport.endpoint
    if not isinstance(endpoint, TcpEndpoint):
        return await UnixStream.connect(endpoint.socket_path)
    if transport.ssl_context is None:
        return await anyio.connect_tcp(endpoint.host, endpoint.port)
    return await anyio.connect_tcp(
        endpoint.host,
        endpoint.port,
        ssl_context=transport.ssl_context,
        tls_hostname=endpoint.host,
        tls_standard_compatible=False,
    )
