"""How a request is addressed to one daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._daemon.endpoint import TcpEndpoint
from ..errors import UsageError
from ..version import __version__
from .request import BYTES

if TYPE_CHECKING:
    from .._daemon.endpoint import Endpoint
    from .request import Request

LOCAL_HOST = "localhost"
"""What a daemon on a socket is called: servers in sandboxes get it as their Host."""


def host_of(endpoint: Endpoint) -> str:
    """The Host field."""
    return endpoint.origin.partition("://")[2] if isinstance(endpoint, TcpEndpoint) else LOCAL_HOST


def target_of(endpoint: Endpoint, request: Request) -> str:
    """The path and query that are sent, exactly."""
    prefix = endpoint.prefix if isinstance(endpoint, TcpEndpoint) else ""
    return prefix + request.target


def token_headers(endpoint: Endpoint, request: Request) -> dict[str, str]:
    if endpoint.token is None:
        return {}
    return {"X-Kiln-Token": endpoint.token} if request.for_port else {"Authorization": f"Bearer {endpoint.token}"}


def headers_of(endpoint: Endpoint, request: Request, *, has_body: bool) -> dict[str, str]:
    """Without the length of a body."""
    headers = {"Host": host_of(endpoint), **token_headers(endpoint, request)}
    if not request.for_port:
        headers["User-Agent"] = f"kiln-python/{__version__}"
        if has_body:
            headers["Content-Type"] = BYTES if request.json is None else "application/json"
    own = {name.lower() for name in request.headers}
    return {**{name: value for name, value in headers.items() if name.lower() not in own}, **request.headers}


def port_url(endpoint: Endpoint, sandbox_id: str, port: int) -> str:
    """Address of a server in a sandbox. Raises UsageError for a daemon that has none."""
    if isinstance(endpoint, TcpEndpoint):
        return f"{endpoint.origin}{endpoint.prefix}/v1/sandboxes/{sandbox_id}/ports/{port}/"
    raise UsageError(
        "a daemon on a Unix socket has no addresses",
        hint="sandbox.forward(port) gives the port an address of this machine",
    )
