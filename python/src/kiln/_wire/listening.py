"""What can go wrong when a port of this machine is listened on."""

from __future__ import annotations

from ..errors import UsageError


def cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}")
