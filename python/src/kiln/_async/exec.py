"""Runs a program to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .._wire.calls import processes
from .._wire.exec_output import CLEANUP_S, ExecOutput, pieces
from .._wire.output_session import OutputSession, Started
from ..errors import KilnError
from .follow import follow
from .within import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.deadline import Deadline
    from .._wire.output_session import StreamEvent
    from ..types import ProcessInfo
    from .background import Background
    from .transport import AsyncTransport


async def run_to_end(
    transport: AsyncTransport,
    sandbox_id: str,
    program: Mapping[str, object],
    *,
    input: bytes,  # noqa: A002 - as in subprocess.run.
    output: ExecOutput,
    deadline: Deadline,
) -> ProcessInfo:
    """Runs a program as a process with its output attached, which a restart of the daemon does not end.

    A call that is given up, by cancellation or its deadline, kills it.
    """
    first = processes.start_attached(sandbox_id, {**program, "stdin": len(input) > 0})
    session = OutputSession(sandbox_id, first)
    feeder: Background | None = None

    async def handle(event: StreamEvent) -> None:
        nonlocal feeder
        if not isinstance(event, Started):
            output.add(event)
        elif input:
            process_id = event.process.id
            feeder = transport.background(
                lambda: _send_input(transport, sandbox_id, process_id, input), "kiln-exec-input"
            )

    try:
        with within(deadline, first.name):
            await follow(transport, session, handle)
    finally:
        if feeder is not None:
            feeder.cancel()
        if session.ended is None and session.process_id is not None:
            # The daemon kills what its first connection belongs to when that goes away; after a cut this may be
            # another.
            with anyio.move_on_after(CLEANUP_S, shield=True), suppress(KilnError):
                await transport.call(processes.kill(sandbox_id, session.process_id))
    assert session.ended is not None  # noqa: S101 - follow() has returned.
    return session.ended


async def _send_input(transport: AsyncTransport, sandbox_id: str, process_id: str, data: bytes) -> None:
    with suppress(KilnError):  # It need not read its input: a failure to write it is no failure of the program.
        for piece, is_last in pieces(data):
            await transport.call(processes.write_stdin(sandbox_id, process_id, end=is_last), piece)
