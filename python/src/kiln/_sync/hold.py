"""The connection a held sandbox lives by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Callable

from .._wire import answers
from .._wire.calls import sandboxes
from .._wire.fields import Fields
from .._wire.lines import LineDecoder
from ..errors import KilnError
from .let_go import LetGo
from .transport import Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._daemon.endpoint import Endpoint
    from .._wire.deadline import Deadline
    from ..types import SandboxInfo

AGAIN_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
"""Shorter than the 15 seconds a daemon that was restarted waits for whoever holds a sandbox."""

_CUT = {"CONNECTION_LOST", "UNREACHABLE", "SHUTTING_DOWN"}


class Hold:
    """Holds a sandbox as long as this process is there, however that ends: the daemon kills the sandbox when the
    connection goes.

    A connection that a restart of the daemon cuts is made again in time. Both clients do this in a thread of its own,
    so that a busy event loop does not matter.

    on_change: told of the sandbox at first and after each change, in that thread.
    on_end: told when it holds it no longer, likewise.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        sandbox_id: str,
        on_change: Callable[[SandboxInfo], object],
        on_end: Callable[[Hold], None],
        *,
        autostart: bool,
        command: Sequence[str] | None,
    ) -> None:
        self._transport = Transport(endpoint, autostart=autostart, command=command)
        self._sandbox_id = sandbox_id
        self._on_change = on_change
        self._on_end = on_end
        self._let_go = LetGo()
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, name="kiln-hold", daemon=True).start()

    def wait_until_held(self, deadline: Deadline) -> None:
        """Returns when the daemon has the connection. Raises what kept it from that."""
        request = sandboxes.hold(self._sandbox_id)
        if not self._settled.wait(deadline.remaining):
            raise deadline.error(request.name)
        if self._failure is not None:
            raise self._failure

    def let_go(self) -> None:
        """Lets go: the daemon kills the sandbox when nobody else holds it."""
        self._let_go.set()

    def _run(self) -> None:
        try:
            self._hold()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told.
            self._failure = error
        finally:
            self._settled.set()
            self._transport.close()
            self._on_end(self)

    def _hold(self) -> None:
        pause = AGAIN_PAUSE_S
        while not self._let_go.is_set:
            try:
                if self._until_cut():
                    return
                pause = AGAIN_PAUSE_S
            except KilnError as error:
                if error.code not in _CUT or not self._settled.is_set():
                    raise
                pause = min(2 * pause, LONGEST_PAUSE_S)
            self._let_go.wait(pause)

    def _until_cut(self) -> bool:
        """Holds on to one connection; returns whether the sandbox is gone."""
        lines = LineDecoder()
        with self._transport.send(sandboxes.hold(self._sandbox_id)) as answer, self._let_go.breaking(answer):
            for chunk in answer:
                for value in lines.feed(chunk):
                    fields = Fields(value, "line")
                    kind = fields.text("type")
                    if kind == "killed":
                        return True
                    if kind == "sandbox":
                        self._on_change(fields.of("sandbox", answers.sandbox_info))
                        self._settled.set()
        return False
