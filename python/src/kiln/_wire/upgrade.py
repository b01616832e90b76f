"""An HTTP/1.1 upgrade to a raw connection (RFC 9110, 7.8), without input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectionLostError, InternalError, KilnError
from .error_body import error_of_answer

if TYPE_CHECKING:
    from .request import Request

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024


class Upgrade:
    """Asks for a raw connection: send ``head``; read at most ``wanted`` bytes and ``feed`` them, until ``wanted`` is 0;
    then ``check``. What comes after that is the connection's own: the answer is read byte by byte, so that none of it
    is lost.

    target: path as the daemon gets it. host: for the Host field.
    """

    def __init__(self, request: Request, *, target: str, host: str, headers: dict[str, str]) -> None:
        self._name = request.name
        fields = {"Host": host, "Connection": "Upgrade", "Upgrade": "tcp", **headers}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wanted = 1
        self._answer = bytearray()
        self._status: int | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        """Takes what was read. Raises InternalError for what is no answer in HTTP."""
        if self._status is None:
            self._answer += data
            if self._answer.endswith(b"\r\n\r\n"):
                self._read_head()
            elif len(self._answer) > MAX_HEAD_BYTES:
                raise self._no_answer()
        else:
            self._body += data
            self.wanted -= len(data)

    def end(self) -> None:
        """The connection has ended before ``wanted`` was 0."""
        self.wanted = 0
        if self._status is None:
            raise ConnectionLostError(f"the connection was lost before {self._name} was answered", request=self._name)

    def check(self) -> None:
        """Raises what the daemon says instead, when it does not grant the connection."""
        if self._status == 101:
            return
        if self._status is None:
            raise self._no_answer()
        if 200 <= self._status < 300:
            raise InternalError("the daemon did not upgrade the connection", request=self._name)
        raise error_of_answer(self._status, bytes(self._body), self._name)

    def _read_head(self) -> None:
        first, *lines = self._answer.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise self._no_answer()
        self._status = int(rest[:3])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "")
        known = int(length) if length.isdigit() else 0
        self.wanted = 0 if self._status == 101 else min(known, MAX_BODY_BYTES)

    def _no_answer(self) -> KilnError:
        return InternalError("the daemon's answer to an upgrade is none in HTTP", request=self._name)
