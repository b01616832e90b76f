"""Drives an OutputSession over connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .._wire.deadline import NEVER
from ..errors import KilnError

if TYPE_CHECKING:
    from .._wire.deadline import Deadline
    from .._wire.output_session import OutputSession, StreamEvent
    from .let_go import LetGo
    from .transport import Transport


def follow(
    transport: Transport,
    session: OutputSession,
    handle: Callable[[StreamEvent], None],
    let_go: LetGo,
    *,
    start: Deadline,
    whole: Deadline = NEVER,
) -> None:
    """Returns when the session has ended, or was let go of.

    start: limits how long the process may take to begin. whole: limits all of it.

    Raises KilnTimeoutError and every other KilnError.
    """
    while not let_go.is_set:
        failure = None
        request = session.request()
        try:
            deadline = start if session.process_id is None else whole
            with transport.send(request, deadline=deadline) as answer, let_go.breaking(answer):
                answer.bound(whole)
                session.begin()
                for chunk in answer:
                    for event in session.feed(chunk):
                        handle(event)
                    if session.ended is not None:
                        return
                    whole.check(request.name)
                session.finish()
        except KilnError as error:
            failure = error
        if let_go.is_set:
            return
        whole.check(request.name)
        let_go.wait(whole.at_most(session.cut(failure)) or 0)
