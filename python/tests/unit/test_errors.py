"""Errors: one table, that of the daemon and two more; codes that are not in it survive."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

import kiln
from kiln import ERROR_TYPES, KilnError
from kiln._wire.error_body import error_of_answer, to_error

DAEMON_TABLE = Path(__file__).parents[3] / "packages/host/src/errors.ts"


def test_the_codes_are_those_of_the_daemon() -> None:
    if not DAEMON_TABLE.exists():
        pytest.skip("this is no checkout: the daemon's table is not here")
    table = re.search(r"ERROR_TABLE = \{(.*?)\n\}", DAEMON_TABLE.read_text(), re.DOTALL)
    assert table is not None
    codes = set(re.findall(r"^\s+([A-Z_]+):", table[1], re.MULTILINE))
    assert len(codes) > 20
    assert codes | {"UNREACHABLE", "CONNECTION_LOST"} == set(ERROR_TYPES)


def test_every_code_has_a_class_of_its_own_that_can_be_imported() -> None:
    assert len(set(ERROR_TYPES.values())) == len(ERROR_TYPES)
    for code, kind in ERROR_TYPES.items():
        assert kind.code == code
        assert getattr(kiln, kind.__name__) is kind
        error = to_error({"code": code, "message": "m"})
        assert type(error) is kind


def test_an_error_has_what_the_daemon_told() -> None:
    body = {"code": "CAPACITY", "message": "no room", "hint": "kill some", "details": {"mib": 5}}
    error = to_error(body, status=507, request="POST /x")
    assert isinstance(error, kiln.CapacityError)
    assert (error.message, error.hint, error.details) == ("no room", "kill some", {"mib": 5})
    assert (error.status, error.request) == (507, "POST /x")
    assert str(error) == "no room\nhint: kill some"


def test_a_code_of_a_later_daemon_survives() -> None:
    error = to_error({"code": "FROM_THE_FUTURE", "message": "m", "details": {"a": 1}}, status=418)
    assert type(error) is KilnError
    assert (error.code, error.details, str(error)) == ("FROM_THE_FUTURE", {"a": 1}, "FROM_THE_FUTURE: m")


@pytest.mark.parametrize("content", [b"", b"<html>", b"null", b"5", b"{}", b'{"code": 5, "hint": [], "details": 1}'])
def test_what_is_no_error_body_is_an_error_still(content: bytes) -> None:
    error = error_of_answer(503, content, "GET /x")
    assert isinstance(error, kiln.InternalError)
    assert "503" in error.message
    assert (error.hint, error.details) == (None, {})


def test_some_are_errors_of_python_as_well() -> None:
    assert issubclass(kiln.KilnTimeoutError, TimeoutError)
    assert issubclass(kiln.UnreachableError, ConnectionError)
    assert issubclass(kiln.ConnectionLostError, ConnectionError)
    assert issubclass(kiln.SandboxFileNotFoundError, FileNotFoundError)
    assert issubclass(kiln.SandboxPermissionError, PermissionError)
    assert issubclass(kiln.SandboxNotFoundError, kiln.NotFoundError)


@pytest.mark.parametrize("code", [*ERROR_TYPES, "FROM_THE_FUTURE"])
def test_errors_pass_between_processes(code: str) -> None:
    error = to_error({"code": code, "message": "m", "hint": "h", "details": {"a": 1}}, status=400, request="GET /x")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.code, vars(copy)) == (str(error), code, vars(error))
