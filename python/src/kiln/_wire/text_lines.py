"""Lines of text in a stream of bytes."""

from __future__ import annotations

import codecs


class TextLines:
    """Takes bytes in UTF-8 as they come and gives lines without their ends; bytes that are no UTF-8 show as U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._pending = (self._pending + self._decoder.decode(data)).split("\n")
        return [line[:-1] if line.endswith("\r") else line for line in lines]

    def finish(self) -> list[str]:
        """The last line, when it had no end."""
        rest = self._pending + self._decoder.decode(b"", final=True)
        self._pending = ""
        return [rest] if rest else []
