"""The connections of the synchronous client."""

from __future__ import annotations

import socket

import httpcore
import pytest

from kiln._sync.network import Stream


def test_one_that_another_thread_has_closed_is_a_failure_to_write() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = Stream(ours, early_bytes=1024)
        assert stream.get_extra_info("is_readable") is False
        stream.close()
        with pytest.raises(httpcore.WriteError):
            stream.write(b"data")
        assert stream.get_extra_info("is_readable") is True
