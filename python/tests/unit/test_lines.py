from __future__ import annotations

import pytest

from kiln import InternalError
from kiln._wire.lines import MAX_LINE_BYTES, LineDecoder
from kiln._wire.text_lines import TextLines


def decode(*pieces: bytes) -> list[object]:
    decoder = LineDecoder()
    return [value for piece in pieces for value in decoder.feed(piece)]


def test_finds_the_same_values_wherever_the_stream_is_split_within_a_character_too() -> None:
    whole = '{"a":"grüß 😀"}\n\n[1,2]\n"end"\n'.encode()
    expected = [{"a": "grüß 😀"}, [1, 2], "end"]
    for at in range(len(whole) + 1):
        assert decode(whole[:at], whole[at:]) == expected, f"split at {at}"


def test_a_last_line_that_was_cut_off_is_no_value() -> None:
    assert decode(b'{"a":1}\n{"b":') == [{"a": 1}]


def test_what_is_not_json_and_a_line_without_an_end_are_refused() -> None:
    with pytest.raises(InternalError):
        decode(b"<html>\n")
    with pytest.raises(InternalError):
        decode(*([b" " * 1024 * 1024] * (MAX_LINE_BYTES // 1024 // 1024 + 1)))


def test_lines_of_text_wherever_they_are_split() -> None:
    whole = "one\r\ntwo grüß\n\nlast".encode() + b"\xff"
    for at in range(len(whole) + 1):
        lines = TextLines()
        assert lines.feed(whole[:at]) + lines.feed(whole[at:]) + lines.finish() == [
            "one",
            "two grüß",
            "",
            "last\ufffd",
        ]
    assert TextLines().finish() == []
