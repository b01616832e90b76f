"""Takes an output stream (docs/api.md) apart."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConnectionLostError, InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Longest payload a daemon sends."""

_HEADER = struct.Struct(">BI")


class Frame(NamedTuple):
    channel: int
    """0: an event in JSON, 1: stdout, 2: stderr."""
    payload: bytes


class FrameDecoder:
    """Finds the frames of a stream that comes in pieces.

        +---------+------------------+=================+
        | channel | length, u32 BE   | payload         |
        +---------+------------------+=================+

    Keeps no more than a frame that is not whole yet.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames that are whole with these bytes. Raises InternalError for what is no output stream."""
        pending = self._pending
        pending += data
        at = 0
        try:
            while len(pending) - at >= _HEADER.size:
                channel, length = _HEADER.unpack_from(pending, at)
                if length > MAX_PAYLOAD_BYTES:
                    raise InternalError(f"an output frame of {length} bytes")
                end = at + _HEADER.size + length
                if len(pending) < end:
                    break
                payload = bytes(pending[at + _HEADER.size : end])
                at = end
                yield Frame(channel, payload)
        finally:
            del pending[:at]

    def finish(self) -> None:
        """The stream has ended. Raises ConnectionLostError when it did so within a frame."""
        if self._pending:
            raise ConnectionLostError("an output stream ended within a frame")
