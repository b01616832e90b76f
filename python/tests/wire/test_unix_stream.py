"""The Unix sockets of the asynchronous client."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

import anyio
import pytest

from kiln._async.unix_stream import UnixStream

if TYPE_CHECKING:
    from collections.abc import Awaitable


def test_a_wait_may_be_cancelled_as_the_socket_becomes_ready() -> None:
    async def cancel_in_between(ready: Callable[[], Any], wait: Callable[[], Awaitable[Any]]) -> None:
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.05)
        ready()
        asyncio.get_running_loop().call_soon(task.cancel)  # Runs just before what the loop then finds ready.
        with suppress(asyncio.CancelledError):
            await task

    async def both() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = UnixStream(ours)
        await cancel_in_between(lambda: theirs.send(b"data"), stream.receive)
        assert complaints == []
        assert await stream.receive() == b"data"
        await cancel_in_between(lambda: theirs.recv(8 << 20), lambda: stream.send(bytes(8 << 20)))
        assert complaints == []
        await stream.aclose()
        theirs.close()

    asyncio.run(both())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_sends_receives_and_ends(backend: str) -> None:
    if backend == "trio":
        pytest.importorskip("trio", reason="Trio is not installed")

    async def both() -> None:
        ours, theirs = (UnixStream(end) for end in socket.socketpair())
        for stream in (ours, theirs):
            stream.extra(anyio.abc.SocketAttribute.raw_socket).setblocking(False)
        received = bytearray()

        async def receive() -> None:
            async for data in theirs:
                received.extend(data)

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            await ours.send(bytes(3 << 20))
            await ours.send_eof()
        assert received == bytes(3 << 20)
        async with anyio.create_task_group() as group:

            async def is_closed() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await ours.receive()

            group.start_soon(is_closed)
            await anyio.sleep(0.05)
            await ours.aclose()
        with pytest.raises(anyio.BrokenResourceError):
            await theirs.send(b"more")
        await theirs.aclose()

    anyio.run(both, backend=backend)
