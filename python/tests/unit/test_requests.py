"""Requests as data."""

from __future__ import annotations

import math

import pytest

from kiln import UsageError
from kiln._wire.calls import files, processes, sandboxes
from kiln._wire.exec_output import INPUT_PIECE_BYTES, pieces
from kiln._wire.request import Request, Scalar, encode_json, milliseconds
from kiln._wire.unset import UNSET


def test_queries_are_escaped_and_what_is_not_given_is_left_out() -> None:
    query: dict[str, Scalar] = {"a b": "ü&=/", "n": 5, "yes": True, "no": False, "none": None}
    assert Request("GET", "/x", query).target == "/x?a%20b=%C3%BC%26%3D%2F&n=5&yes=true&no=false"
    assert Request("GET", "/x").target == "/x"
    assert files.read("s1", "/a b?c", None, 5).target == "/v1/sandboxes/s1/files?path=%2Fa%20b%3Fc&length=5"
    assert sandboxes.get("../x").request.target == "/v1/sandboxes/..%2Fx"


def test_a_path_for_a_server_in_a_sandbox_stays_what_it_is() -> None:
    def target(path: str) -> str:
        return sandboxes.port("s1", 80, path, "get", None).target

    assert target("/a/../b%2F?q=%20&r=a+b") == "/v1/sandboxes/s1/ports/80/a/../b%2F?q=%20&r=a+b"
    assert target("x") == target("/x") == "/v1/sandboxes/s1/ports/80/x"
    assert target("//x") == "/v1/sandboxes/s1/ports/80//x"
    assert target("/ü \r\n") == "/v1/sandboxes/s1/ports/80/%C3%BC%20%0D%0A"


def test_none_and_not_given_differ_where_they_mean_different_things() -> None:
    assert sandboxes.update("s1", None, UNSET, UNSET).request.json == {"timeout_s": None}
    assert sandboxes.update("s1", UNSET, "pause", {"a": "b"}).request.json == {
        "on_timeout": "pause",
        "metadata": {"a": "b"},
    }
    assert sandboxes.resume("s1", UNSET).request.json == {}
    assert sandboxes.resume("s1", None).request.json == {"timeout_s": None}


def test_one_text_is_no_program() -> None:
    with pytest.raises(UsageError, match="list of a program") as caught:
        processes.program("ls -l")
    assert caught.value.hint is not None
    assert "sh" in caught.value.hint


def test_time_limits_are_rounded_up_to_milliseconds() -> None:
    assert [milliseconds(seconds) for seconds in (None, 1, 0.0001, 2.5, 0)] == [None, 1000, 1, 2500, 0]
    for wrong in (math.inf, math.nan):
        with pytest.raises(UsageError, match="time limit"):
            milliseconds(wrong)


def test_what_has_no_form_in_json_is_refused() -> None:
    assert encode_json({"a": "ü"}) == '{"a":"ü"}'.encode()
    for wrong in ({"a": math.nan}, {"a": b"bytes"}, {"a": "\udcff"}, {"a": object()}):
        with pytest.raises(UsageError):
            encode_json(wrong)


def test_input_is_sent_in_pieces() -> None:
    data = bytes(2 * INPUT_PIECE_BYTES + 1)
    assert [(len(piece), is_last) for piece, is_last in pieces(data)] == [
        (INPUT_PIECE_BYTES, False),
        (INPUT_PIECE_BYTES, False),
        (1, True),
    ]
    assert pieces(data[:INPUT_PIECE_BYTES]) == [(data[:INPUT_PIECE_BYTES], True)]
