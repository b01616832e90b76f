"""Which daemon is meant: the rules are those of packages/host/src/home.ts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kiln import UnreachableError, UsageError
from kiln._daemon.endpoint import LocalEndpoint, TcpEndpoint, UnixEndpoint, resolve_endpoint
from kiln._daemon.start import find_kiln


def test_finds_the_folder_where_the_daemon_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    default = "/home/me/.local/share/kiln"
    for environ, home in [
        ({"KILN_HOME": "/a/b"}, "/a/b"),
        ({"KILN_HOME": "/a/b", "XDG_DATA_HOME": "/c"}, "/a/b"),
        ({"KILN_HOME": "/a//b/../d/"}, "/a/d"),
        ({"XDG_DATA_HOME": "/c"}, "/c/kiln"),
        ({}, default),
        ({"KILN_HOME": "", "XDG_DATA_HOME": "", "KILN_URL": ""}, default),
        ({"KILN_HOME": "relative"}, os.path.abspath("relative")),
    ]:
        endpoint = resolve_endpoint(environ=environ)
        assert endpoint == LocalEndpoint(home)
        assert isinstance(endpoint, LocalEndpoint)
        assert endpoint.socket_path == f"{home}/kiln.sock"


def test_takes_an_address_and_a_token_from_options_before_the_environment() -> None:
    environ = {"KILN_URL": "http://a:1", "KILN_TOKEN": "of-env", "KILN_HOME": "/h"}
    assert resolve_endpoint(environ=environ) == TcpEndpoint(False, "a", 1, "", "of-env")
    own = resolve_endpoint("https://b/prefix/", "own", environ=environ)
    assert own == TcpEndpoint(True, "b", 443, "/prefix", "own")
    assert str(own) == "https://b"
    assert str(resolve_endpoint("http://[::1]:7070", environ={})) == "http://[::1]:7070"
    assert resolve_endpoint("unix:/run/kiln.sock", environ={}) == UnixEndpoint("/run/kiln.sock")
    assert resolve_endpoint("unix:///run/kiln.sock", environ={}) == UnixEndpoint("/run/kiln.sock")
    assert resolve_endpoint(home=Path("/mine"), environ=environ) == LocalEndpoint("/mine"), "it means this machine"


@pytest.mark.parametrize("url", ["server:7070", "ftp://x", "nonsense", "http://", "http://a:port", "http://[x"])
def test_says_what_an_address_looks_like(url: str) -> None:
    with pytest.raises(UsageError, match="no address") as caught:
        resolve_endpoint(url, environ={})
    assert caught.value.hint is not None


def test_finds_the_kiln_to_start(tmp_path: Path) -> None:
    assert find_kiln({"KILN_BIN": "/opt/kiln", "PATH": str(tmp_path)}) == ["/opt/kiln"]
    program = tmp_path / "kiln"
    program.write_text("#!/bin/sh\n")
    path = {"PATH": f"relative:/nowhere:{tmp_path}"}
    if (checkout := Path(__file__).parents[3] / "bin/kiln").exists():
        assert find_kiln(path) == [str(checkout)], "one that cannot be run is passed over"
    else:
        with pytest.raises(UnreachableError):
            find_kiln(path)
    program.chmod(0o755)
    assert find_kiln(path) == [str(program)]
