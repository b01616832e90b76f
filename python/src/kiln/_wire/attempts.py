"""When a request may be sent again."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpcore

from ..errors import ConnectionLostError, KilnError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .request import Request

CONNECT_TIMEOUT_S = 10.0
"""How long a connection may take."""

RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between attempts: a daemon that is restarted answers within a second or two."""

_NOBODY_LISTENS = {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}
_NOTHING_SENT = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)

HTTP_FAILURES = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol)
"""What httpcore raises when a connection cannot be made or breaks, or what comes is not HTTP."""


@dataclass(frozen=True)
class ConnectionFailure:
    """A connection that could not be made, or broke."""

    cause: BaseException
    sent: bool
    """Whether the daemon may have got the request, or a part of it."""
    nobody_listens: bool
    """Whether there is no daemon at all."""

    @classmethod
    def of(cls, error: BaseException) -> ConnectionFailure:
        sent = not isinstance(error, _NOTHING_SENT)
        codes = (cause.errno for cause in _causes(error) if isinstance(cause, OSError))
        return cls(error, sent, not sent and any(code in _NOBODY_LISTENS for code in codes))

    def __str__(self) -> str:
        """The innermost reason, such as ``No such file or directory``."""
        innermost = [cause for cause in _causes(self.cause) if str(cause)]
        last = innermost[-1] if innermost else self.cause
        return getattr(last, "strerror", None) or str(last) or type(last).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


@dataclass(frozen=True)
class Next:
    """What to do before a request is sent again."""

    start_daemon: bool
    pause_s: float


class Attempts:
    """The attempts at one request. It is sent again as long as nothing was sent, and a GET that was cut.

    where: the daemon's address, for messages.
    may_start: whether the daemon may be started when nobody listens.
    """

    def __init__(self, request: Request, where: str, *, may_start: bool) -> None:
        self._request = request
        self._where = where
        self._may_start = may_start
        self._pauses = iter(RETRY_PAUSES_S)

    def failed(self, error: Exception) -> Next:
        """What to do after an attempt failed with one of ``HTTP_FAILURES``.

        Raises UnreachableError or ConnectionLostError when it is not to be made again; UsageError for a request that is
        none in HTTP.
        """
        if isinstance(error, (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol)):
            raise UsageError(f"{self._request.name} cannot be sent: {error}", request=self._request.name) from error
        failure = ConnectionFailure.of(error)
        pause = next(self._pauses, None)
        if pause is None or (failure.sent and self._request.method != "GET"):
            raise connection_error(failure, self._request, self._where) from error
        start = self._may_start and failure.nobody_listens
        if start:
            self._may_start = False
        return Next(start_daemon=start, pause_s=0 if start else pause)


def connection_error(failure: ConnectionFailure, request: Request, where: str) -> KilnError:
    """The failure for whoever asked."""
    if failure.sent:
        return ConnectionLostError(
            f"the connection to {where} was lost before {request.name} was answered ({failure})", request=request.name
        )
    return UnreachableError(
        f"{request.name}: {where} cannot be reached ({failure})",
        request=request.name,
        hint="does the daemon run? kiln serve starts it" if failure.nobody_listens else None,
    )


def answer_cut(error: BaseException, request: Request, where: str) -> KilnError:
    """The failure of an answer that broke off."""
    reason = ConnectionFailure(error, sent=True, nobody_listens=False)
    return ConnectionLostError(
        f"the connection to {where} was lost within the answer to {request.name} ({reason})", request=request.name
    )
