"""What is kept of the output of a program that is run to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Channel, ExecResult, OutputData, OutputEvent

if TYPE_CHECKING:
    from ..types import ProcessInfo

MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""Most that is kept of each output, unless asked for more or less."""

INPUT_PIECE_BYTES = 1024 * 1024
"""What is sent of the input with one request."""

CLEANUP_S = 5.0
"""How long is tried to kill what a call that was given up has started, in seconds."""


class ExecOutput:
    """Both outputs, each up to a limit in bytes."""

    def __init__(self, limit: int | None) -> None:
        self._limit = MAX_OUTPUT_BYTES if limit is None else limit
        self._kept: dict[Channel, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._truncated = False

    def add(self, event: OutputEvent) -> None:
        if not isinstance(event, OutputData):
            self._truncated = True
            return
        kept = self._kept[event.channel]
        room = max(0, self._limit - len(kept))
        kept += event.data[:room]
        if len(event.data) > room:
            self._truncated = True

    def as_bytes(self, process: ProcessInfo) -> ExecResult[bytes]:
        return ExecResult(
            stdout=bytes(self._kept["stdout"]),
            stderr=bytes(self._kept["stderr"]),
            exit_code=process.exit_code or 0,
            signal=process.signal,
            timed_out=process.timed_out,
            truncated=self._truncated,
        )

    def as_text(self, process: ProcessInfo) -> ExecResult[str]:
        """Bytes that are no UTF-8 show as U+FFFD."""
        return ExecResult(
            stdout=self._kept["stdout"].decode(errors="replace"),
            stderr=self._kept["stderr"].decode(errors="replace"),
            exit_code=process.exit_code or 0,
            signal=process.signal,
            timed_out=process.timed_out,
            truncated=self._truncated,
        )


def pieces(data: bytes) -> list[tuple[bytes, bool]]:
    """Input as it is sent: pieces, and whether each is the last."""
    starts = range(0, len(data), INPUT_PIECE_BYTES)
    return [(data[at : at + INPUT_PIECE_BYTES], at + INPUT_PIECE_BYTES >= len(data)) for at in starts]
