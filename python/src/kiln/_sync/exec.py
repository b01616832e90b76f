"""Runs a program to its end."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from .._wire.calls import processes
from .._wire.deadline import Deadline
from .._wire.exec_output import CLEANUP_S, ExecOutput, pieces
from .._wire.output_session import OutputSession, Started
from ..errors import KilnError
from .follow import follow
from .let_go import LetGo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.output_session import StreamEvent
    from ..types import ProcessInfo
    from .transport import Transport


def run_to_end(
    transport: Transport,
    sandbox_id: str,
    program: Mapping[str, object],
    *,
    input: bytes,  # noqa: A002 - as in subprocess.run.
    output: ExecOutput,
    deadline: Deadline,
) -> ProcessInfo:
    """Runs a program as a process with its output attached, which a restart of the daemon does not end.

    A call that is given up, by an exception or its deadline, kills it.
    """
    session = OutputSession(sandbox_id, processes.start_attached(sandbox_id, {**program, "stdin": len(input) > 0}))
    over = threading.Event()

    def handle(event: StreamEvent) -> None:
        if not isinstance(event, Started):
            output.add(event)
        elif input:
            feeder = (transport, sandbox_id, event.process.id, input, over)
            threading.Thread(target=_send_input, args=feeder, name="kiln-exec-input", daemon=True).start()

    try:
        follow(transport, session, handle, LetGo(), start=deadline, whole=deadline)
    finally:
        over.set()
        if session.ended is None and session.process_id is not None:
            # The daemon kills what its first connection belongs to when that goes away; after a cut this may be
            # another.
            with suppress(KilnError):
                transport.call(processes.kill(sandbox_id, session.process_id), deadline=Deadline(CLEANUP_S))
    assert session.ended is not None  # noqa: S101 - nobody lets go of it.
    return session.ended


def _send_input(transport: Transport, sandbox_id: str, process_id: str, data: bytes, over: threading.Event) -> None:
    with suppress(KilnError):  # It need not read its input: a failure to write it is no failure of the program.
        for piece, is_last in pieces(data):
            if over.is_set():
                return
            transport.call(processes.write_stdin(sandbox_id, process_id, end=is_last), piece)
