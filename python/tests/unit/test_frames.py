from __future__ import annotations

import pytest

from kiln import ConnectionLostError, InternalError
from kiln._wire.frames import FrameDecoder
from tests.support.wire import PING, frame

WHOLE = PING + frame(1, b"out") + frame(2, b"") + frame(1, b"x" * 300)
EXPECTED = [(0, b'{"type": "ping"}'), (1, b"out"), (2, b""), (1, b"x" * 300)]


def decode(*pieces: bytes) -> list[tuple[int, bytes]]:
    decoder = FrameDecoder()
    found = [tuple(frame) for piece in pieces for frame in decoder.feed(piece)]
    decoder.finish()
    return found  # type: ignore[return-value]


def test_finds_the_same_frames_wherever_the_stream_is_split() -> None:
    assert decode(WHOLE) == EXPECTED
    for at in range(len(WHOLE)):
        assert decode(WHOLE[:at], WHOLE[at:]) == EXPECTED, f"split at {at}"
    assert decode(*(WHOLE[at : at + 1] for at in range(len(WHOLE)))) == EXPECTED


def test_an_end_within_a_frame_is_a_cut_at_every_byte() -> None:
    ends = {0}
    for payload in (PING, frame(1, b"out"), frame(2, b""), frame(1, b"x" * 300)):
        ends.add(max(ends) + len(payload))
    for length in range(len(WHOLE) + 1):
        if length in ends:
            decode(WHOLE[:length])
        else:
            with pytest.raises(ConnectionLostError):
                decode(WHOLE[:length])


def test_a_frame_longer_than_any_daemon_sends_is_refused_before_it_is_kept() -> None:
    decode(frame(1, bytes(1024 * 1024)))
    with pytest.raises(InternalError):
        decode(b"\x01\xff\xff\xff\xff")
