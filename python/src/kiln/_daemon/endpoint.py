"""Which daemon is meant."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union
from urllib.parse import urlsplit

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class LocalEndpoint:
    """This machine's own daemon, which may be started when it does not run."""

    home: str
    """Folder of everything the daemon keeps."""

    @property
    def socket_path(self) -> str:
        return os.path.join(self.home, "kiln.sock")

    token = None

    def __str__(self) -> str:
        return self.socket_path


@dataclass(frozen=True)
class UnixEndpoint:
    """A daemon on some Unix socket."""

    socket_path: str
    token: str | None = None

    def __str__(self) -> str:
        return self.socket_path


@dataclass(frozen=True)
class TcpEndpoint:
    """A daemon on TCP."""

    secure: bool
    host: str
    port: int
    prefix: str = ""
    """What paths begin with, without a slash at its end."""
    token: str | None = None

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return f"{'https' if self.secure else 'http'}://{host}{'' if self.port == default else f':{self.port}'}"

    def __str__(self) -> str:
        return self.origin


Endpoint = Union[LocalEndpoint, UnixEndpoint, TcpEndpoint]


def resolve_endpoint(
    url: str | None = None,
    token: str | None = None,
    home: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Endpoint:
    """Finds out which daemon is meant: ``url``, else ``home``, else ``$KILN_URL``, else this machine's own.

    The folder of this machine's own is ``$KILN_HOME``, else ``$XDG_DATA_HOME/kiln``, else ``~/.local/share/kiln``. A
    variable that is empty counts as missing.

    Raises UsageError for an address that is none.
    """
    if url is None and home is None:
        url = environ.get("KILN_URL") or None
    token = token or environ.get("KILN_TOKEN") or None
    if not url:
        return LocalEndpoint(os.path.abspath(os.fspath(home) if home else _home_of(environ)))
    if url.startswith("unix:"):
        path = url[len("unix:") :]
        return UnixEndpoint(os.path.abspath("/" + path.lstrip("/") if path.startswith("//") else path), token)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address(url)
    secure = parts.scheme == "https"
    default = 443 if secure else 80
    return TcpEndpoint(secure, parts.hostname, port or default, parts.path.rstrip("/"), token)


def _home_of(environ: Mapping[str, str]) -> str:
    named = environ.get("KILN_HOME")
    if named:
        return named
    data = environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "kiln")


def _no_address(url: str) -> UsageError:
    return UsageError(
        f'"{url}" is no address of a daemon',
        hint="such as http://server:7070 or unix:/home/me/.local/share/kiln/kiln.sock",
    )
