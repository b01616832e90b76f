"""Requests and answers in httpcore's terms.

It is httpcore, the engine of httpx, and not httpx itself: with it an answer that comes while a body is still being sent
is seen (_sync/network.py says why), a path is sent as it is, and no cookie of a server in a sandbox is kept.
"""

from __future__ import annotations

import json
import ssl
from email.message import Message
from typing import TYPE_CHECKING, TypeVar, Union

import httpcore

from .._daemon.endpoint import TcpEndpoint
from ..errors import InternalError
from .addressing import LOCAL_HOST, headers_of, target_of
from .attempts import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .._daemon.endpoint import Endpoint
    from .deadline import Deadline
    from .request import Call, Request

T = TypeVar("T")

MAX_JSON_BYTES = 256 * 1024 * 1024
"""Longest JSON answer."""

MAX_WHOLE_BYTES = 256 * 1024 * 1024
"""Largest file or answer of a server in a sandbox that is read in one piece."""

KEPT_CONNECTIONS = 20
"""At most so many wait for another request, of each client."""

KEPT_S = 5.0
"""A connection that waits for another request is closed after so many seconds, long before the daemon would."""

EARLY_BYTES = 1024 * 1024
"""A server in a sandbox may answer while it still reads: so much of the answer is kept before sending is given up."""

Timeouts = dict[str, Union[float, None]]
SentContent = Union[bytes, "Iterator[bytes]", "AsyncIterator[bytes]", None]


def to_httpcore(endpoint: Endpoint, request: Request, content: SentContent, deadline: Deadline) -> httpcore.Request:
    timeouts: Timeouts = {
        "connect": deadline.at_most(CONNECT_TIMEOUT_S),
        "read": deadline.at_most(request.silence_s),
        "write": deadline.remaining,
        "pool": deadline.remaining,
    }
    target = target_of(endpoint, request)
    if isinstance(endpoint, TcpEndpoint):
        scheme = "https" if endpoint.secure else "http"
        url = httpcore.URL(scheme=scheme, host=endpoint.host, port=endpoint.port, target=target)
    else:
        url = httpcore.URL(scheme="http", host=LOCAL_HOST, target=target)
    if isinstance(content, bytes):
        length = {"Content-Length": str(len(content))}
    elif content is not None:
        length = {"Transfer-Encoding": "chunked"}
    else:
        length = {} if request.method == "GET" else {"Content-Length": "0"}
    headers = {**headers_of(endpoint, request, has_body=content is not None), **length}
    return httpcore.Request(
        request.method,
        url,
        headers=[(name.encode("latin-1", "replace"), value.encode("utf-8")) for name, value in headers.items()],
        content=content,
        extensions={"timeout": timeouts},
    )


def headers_from(response: httpcore.Response) -> Message:
    """The headers of an answer: names in whatever case, ``get_all`` for those that come several times."""
    headers = Message()
    for name, value in response.headers:
        headers[name.decode("latin-1")] = value.decode("latin-1")
    return headers


def ssl_context_of(endpoint: Endpoint) -> ssl.SSLContext | None:
    """The system's authorities, and those of ``$SSL_CERT_FILE``; None where nothing is encrypted."""
    is_secure = isinstance(endpoint, TcpEndpoint) and endpoint.secure
    return ssl.create_default_context() if is_secure else None


def read_json(call: Call[T], content: bytes) -> T:
    """The answer to a call. Raises InternalError for what is none."""
    try:
        value = json.loads(content) if content else None
    except ValueError:
        raise InternalError(f"the answer is not JSON: {content[:100]!r}", request=call.request.name) from None
    try:
        return call.parse(value)
    except InternalError as error:
        error.request = call.request.name
        raise
