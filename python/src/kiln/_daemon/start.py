"""Starts this machine's own daemon."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_COMPLAINT = 4000
"""What is kept of what a daemon that does not start says, in characters."""


def find_kiln(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The ``kiln`` to start a daemon with: ``$KILN_BIN``, the one on the PATH, or that of the checkout this file is in.

    Raises UnreachableError when there is none.
    """
    named = environ.get("KILN_BIN")
    if named:
        return [named]
    on_path = [folder for folder in environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    of_checkout = Path(__file__).resolve().parents[4] / "bin"
    for folder in [*on_path, str(of_checkout)]:
        path = os.path.join(folder, "kiln")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return [path]
    raise UnreachableError(
        "no daemon runs, and there is no kiln to start one with",
        hint="put kiln on the PATH, name it by KILN_BIN, or name a running daemon by KILN_URL",
    )


def start_daemon(home: str, command: Sequence[str]) -> None:
    """Starts the daemon of ``home`` and returns when it answers. Several at once start one.

    command: the ``kiln`` to start it with, and its first arguments.

    Raises UnreachableError with what the daemon said.
    """
    # A file, not a pipe: the daemon itself may inherit standard error, and a pipe would not end before the daemon does.
    with tempfile.TemporaryFile() as complaint:
        try:
            status = subprocess.run(  # noqa: S603 - the command is the user's own.
                [*command, "serve", "--background"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                env={**os.environ, "KILN_HOME": home},
                check=False,
            ).returncode
        except OSError as error:
            raise _failed(command, str(error)) from error
        if status == 0:
            return
        complaint.seek(0)
        said = complaint.read().decode(errors="replace").strip()
    raise _failed(command, said[-MAX_COMPLAINT:] or f"it ended with {status}")


def _failed(command: Sequence[str], why: str) -> UnreachableError:
    return UnreachableError(
        f"the daemon could not be started: {why}", hint=f"{' '.join([*command, 'serve'])} shows why"
    )
