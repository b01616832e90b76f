# Every call of both clients once, each with a look at what it gave.
# Run: python3 examples/python/every_call.py [TEMPLATE]
from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone

from kiln import (
    AsyncClient,
    AsyncSandbox,
    BuildEnd,
    Client,
    KilnTimeoutError,
    OutputData,
    Process,
    Sandbox,
    SandboxFileNotFoundError,
    SandboxNotFoundError,
    SandboxStateError,
    Terminal,
    UsageError,
)

IMAGE = sys.argv[1] if len(sys.argv) > 1 else "python"
MARK = f"every-call-{os.getpid()}"
IS_REMOTE = os.environ.get("KILN_URL", "").startswith("http")

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served " + self.path.encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 18080), Handler).serve_forever()
"""


def step(name: str) -> None:
    print("ok ", name, flush=True)


# Client, for threads


def the_service(client: Client) -> None:
    assert client.health().status == "ok"
    assert client.info().api_version == 1
    assert "# HELP" in client.metrics()
    assert client.openapi()["openapi"].startswith("3.1")
    step("the service: health, info, metrics, openapi")


def templates_and_builds(client: Client) -> None:
    assert IMAGE in [template.name for template in client.templates.list()]
    assert client.templates.get(IMAGE).name == IMAGE
    build = client.builds.start(IMAGE)
    assert build.id in [known.id for known in client.builds.list()]
    assert client.builds.get(build.id).template == IMAGE
    assert isinstance(list(client.builds.events(build.id))[-1], BuildEnd)
    assert client.builds.wait(build.id).state == "done"
    client.builds.cancel(build.id)  # It is done: nothing to cancel.
    assert client.build(IMAGE).state == "done"
    step("templates and builds")


def disk(client: Client) -> None:
    usage = client.disk.usage()
    assert usage.shared_bytes + sum(entry.own_bytes for entry in usage.entries) == usage.total_bytes
    collected = client.disk.collect(dry_run=True, keep=1, older_than=60)
    assert f"it is {IMAGE}" in [part.reason for part in collected.kept]
    step("the disk: usage, collect")


def look_up(client: Client, sandbox: Sandbox) -> None:
    assert client.get(sandbox.id[:8]).id == sandbox.id
    found = client.list(state=["running"], image=IMAGE, metadata={"mark": MARK}, page_size=1)
    assert [one.id for one in found] == [sandbox.id]
    assert sandbox.refresh().state == "running"
    expires_at = sandbox.extend_timeout(600).expires_at
    assert expires_at is not None
    assert expires_at > datetime.now(timezone.utc) + timedelta(seconds=500)
    assert sandbox.update(on_timeout="pause", metadata={"mark": MARK, "more": "yes"}).metadata["more"] == "yes"
    assert sandbox.stats().processes > 0
    try:
        client.get("nosuchsandbx")
        raise AssertionError("it is not there")
    except SandboxNotFoundError as error:
        assert error.code == "SANDBOX_NOT_FOUND"
    step("get, list, refresh, update, extend_timeout, stats")


def programs(sandbox: Sandbox) -> None:
    shout = sandbox.exec(
        ["sh", "-c", 'tr a-z A-Z; echo "$WHO" >&2; exit 3'],
        input="hello\n",
        env={"WHO": "me"},
        cwd="/tmp",
        user="root",
        timeout=30,
    )
    assert (shout.stdout, shout.stderr, shout.exit_code) == ("HELLO\n", "me\n", 3)
    raw = sandbox.exec(["printf", "\\377\\377"], text=False, max_output_bytes=1)
    assert (raw.stdout, raw.truncated) == (b"\xff", True)
    assert sandbox.exec(["sleep", "60"], timeout=0.2).timed_out
    try:
        sandbox.exec(["sleep", "60"], request_timeout=0.5)
        raise AssertionError("it takes longer")
    except KilnTimeoutError:
        pass
    step("exec")

    with sandbox.start(["cat"], stdin=True) as cat:
        cat.write("one\n")
        cat.close_stdin("two\n")
        assert list(cat.stdout.lines()) == ["one", "two"]
        assert cat.wait().exit_code == 0
    with sandbox.start(["sh", "-c", "stty size; read _; stty size"], stdin=True, terminal=Terminal(24, 80)) as shell:
        lines = iter(shell.stdout.lines())
        assert next(lines) == "24 80"
        shell.resize(30, 100)
        shell.write("\n")
        assert "30 100" in list(lines)
    sleeper = sandbox.start(["sleep", "60"])
    assert sleeper.refresh().state == "running"
    sleeper.signal("SIGTERM")
    assert sleeper.wait(timeout=30).signal == "SIGTERM"
    assert sleeper.info.exit_code == 143
    step("start: stdin, terminal, resize, refresh, signal, wait")

    spawned = sandbox.spawn(["sh", "-c", "echo begun; echo problem >&2; sleep 60"])
    assert any(process.id == spawned.id and process.background for process in sandbox.processes())
    attached = sandbox.attach(spawned.id, stdout=0, stderr=0)
    seen = []
    for event in attached.output:
        if isinstance(event, OutputData):
            seen.append((event.channel, event.data))
        if len(seen) == 2:
            break
    assert sorted(seen) == [("stderr", b"problem\n"), ("stdout", b"begun\n")]
    assert attached.dropped == {"stdout": 0, "stderr": 0}
    attached.detach()
    look = sandbox.attach(spawned.id, follow=False)
    assert look.stderr.read_all() == b"problem\n"
    look.kill()
    assert spawned.id not in [process.id for process in sandbox.processes()]
    step("spawn, attach, processes, detach, kill")


def files(sandbox: Sandbox) -> None:
    files = sandbox.files
    files.mkdir("/tmp/every/deep", parents=True)
    with files.watch("/tmp/every", recursive=True) as changes:
        written = files.write("/tmp/every/deep/a.txt", "first\n", mode="600")
        assert (written.size_bytes, written.mode) == (6, "600")
        assert "deep" in next(iter(changes)).path
        changes.close()
    assert files.read_text("/tmp/every/deep/a.txt") == "first\n"
    assert files.read("/tmp/every/deep/a.txt", offset=2, length=3) == b"rst"
    with tempfile.TemporaryFile() as big:
        big.write(b"7" * 3_000_000)
        big.seek(0)
        files.write("/tmp/every/big", big, parents=True)
        big.seek(0)
        big.truncate()
        with files.stream("/tmp/every/big") as stream:
            assert stream.write_to(big) == 3_000_000
    assert files.stream("/tmp/every/big", offset=2_999_999).read_all() == b"7"
    files.stream("/tmp/every/big").close()  # Whoever does not want it any more says so.
    assert files.stat("/tmp/every/big").size_bytes == 3_000_000
    files.rename("/tmp/every/big", "/tmp/every/bigger")
    assert [(file.name, file.type) for file in files.list("/tmp/every")] == [("bigger", "file"), ("deep", "directory")]
    files.untar("/tmp/every-copy", files.tar("/tmp/every"))
    assert files.read_text("/tmp/every-copy/deep/a.txt") == "first\n"
    files.remove("/tmp/every-copy", recursive=True)
    assert not files.exists("/tmp/every-copy")
    try:
        files.read("/tmp/every-copy")
        raise AssertionError("it is not there")
    except SandboxFileNotFoundError:
        pass
    step("files: mkdir, watch, write, read, stream, stat, rename, list, tar, untar, remove, exists")


def wait_for_server(sandbox: Sandbox) -> None:
    for _ in range(100):
        with sandbox.request(18080) as response:
            if response.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the server in the sandbox does not answer")


def ports(sandbox: Sandbox) -> None:
    with sandbox.start(["python3", "-c", SERVER]) as server:
        assert isinstance(server, Process)
        wait_for_server(sandbox)
        response = sandbox.request(18080, "/by/request?x=1")
        assert "python" in response.headers["server"].lower()
        assert response.text() == "served /by/request?x=1"
        with sandbox.connect(18080) as connection:
            connection.sendall(b"GET /by/connect HTTP/1.0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read().endswith(b"served /by/connect")
        with sandbox.forward(18080) as forward:
            with urllib.request.urlopen(f"http://{forward.host}:{forward.port}/by/forward") as answer:
                assert answer.read() == b"served /by/forward"
            forward.close()
        if IS_REMOTE:
            assert sandbox.url(18080).endswith("/ports/18080/")
        else:
            try:
                sandbox.url(18080)
                raise AssertionError("a socket has no addresses")
            except UsageError:
                pass
    step("ports: request, connect, forward, url")


def life_cycle(client: Client, sandbox: Sandbox) -> None:
    sandbox.files.write("/tmp/kept", "[1, 2]")
    assert sandbox.pause().state == "paused"
    try:
        sandbox.exec(["true"])
        raise AssertionError("it is paused")
    except SandboxStateError:
        pass
    try:
        # From node to node: here it comes back to the same one.
        assert sandbox.push().id == sandbox.id
        assert client.pull_sandbox(sandbox.id).info.state == "paused"
    except UsageError:
        pass  # This node uses no store: it is paused as before.
    assert sandbox.resume(timeout=600).state == "running"
    assert sandbox.files.read_text("/tmp/kept") == "[1, 2]"
    step("pause, resume")

    forks = sandbox.fork(2)
    assert len(forks) == 2
    for fork in forks:
        assert fork.info.parent == sandbox.id
        assert fork.files.read_text("/tmp/kept") == "[1, 2]"
        fork.kill()
    step("fork, kill")

    template = sandbox.snapshot(MARK)
    assert (template.name, template.source) == (MARK, "snapshot")
    try:
        with client.sandbox(image=MARK, on_progress=print) as following:
            assert following.info.held
            with following.start(["python3", "-m", "http.server", "18080", "--directory", "/tmp"]):
                wait_for_server(following)
                assert following.request(18080, "/kept").json() == [1, 2]
    finally:
        client.templates.remove(MARK)
    step("snapshot, a sandbox of it, templates.remove")


def in_threads() -> None:
    with Client() as client:
        the_service(client)
        templates_and_builds(client)
        disk(client)
        with client.sandbox(
            image=IMAGE,
            env={"GREETING": "hello"},
            metadata={"mark": MARK},
            timeout=900,
            on_timeout="kill",
            network="none",
            held=False,
        ) as sandbox:
            assert sandbox.exec(["printenv", "GREETING"]).stdout == "hello\n"
            look_up(client, sandbox)
            programs(sandbox)
            files(sandbox)
            ports(sandbox)
            life_cycle(client, sandbox)
        client.close()


# AsyncClient, for event loops


async def async_service_templates_and_builds(client: AsyncClient) -> None:
    assert (await client.health()).status == "ok"
    assert (await client.info()).api_version == 1
    assert "# HELP" in await client.metrics()
    assert "paths" in await client.openapi()
    assert IMAGE in [template.name for template in await client.templates.list()]
    assert (await client.templates.get(IMAGE)).name == IMAGE
    build = await client.builds.start(IMAGE)
    assert build.id in [known.id for known in await client.builds.list()]
    assert (await client.builds.get(build.id)).template == IMAGE
    events = [event async for event in client.builds.events(build.id)]
    assert isinstance(events[-1], BuildEnd)
    assert (await client.builds.wait(build.id)).state == "done"
    await client.builds.cancel(build.id)
    assert (await client.build(IMAGE)).state == "done"
    step("async: the service, templates, builds")


async def async_disk(client: AsyncClient) -> None:
    usage = await client.disk.usage()
    assert usage.shared_bytes + sum(entry.own_bytes for entry in usage.entries) == usage.total_bytes
    assert (await client.disk.collect(dry_run=True)).dry_run
    step("async: the disk")


async def async_look_up(client: AsyncClient, sandbox: AsyncSandbox) -> None:
    assert (await client.get(sandbox.id)).id == sandbox.id
    assert [one.id async for one in client.list(metadata={"mark": f"{MARK}-async"})] == [sandbox.id]
    assert (await sandbox.refresh()).state == "running"
    assert (await sandbox.extend_timeout(600)).expires_at is not None
    assert (await sandbox.update(on_timeout="pause")).on_timeout == "pause"
    assert (await sandbox.stats()).processes > 0
    step("async: get, list, refresh, update, extend_timeout, stats")


async def async_programs(sandbox: AsyncSandbox) -> None:
    result = await sandbox.exec(["sh", "-c", "tr a-z A-Z; exit 3"], input="hello")
    assert (result.stdout, result.exit_code) == ("HELLO", 3)
    try:
        await asyncio.wait_for(sandbox.exec(["sleep", "60"]), 0.5)
        raise AssertionError("it takes longer")
    except asyncio.TimeoutError:
        pass
    async with sandbox.start(["cat"], stdin=True) as cat:
        await cat.write("one\n")
        await cat.close_stdin("two\n")
        assert [line async for line in cat.stdout.lines()] == ["one", "two"]
        assert (await cat.wait()).exit_code == 0
    sleeper = await sandbox.start(["sleep", "60"], terminal=Terminal(24, 80))
    await sleeper.resize(30, 100)
    assert (await sleeper.refresh()).state == "running"
    await sleeper.signal("SIGTERM")
    assert (await sleeper.wait(timeout=30)).signal == "SIGTERM"
    spawned = await sandbox.spawn(["sh", "-c", "echo begun; sleep 60"])
    attached = await sandbox.attach(spawned.id)
    async for event in attached.output:
        assert event == OutputData("stdout", b"begun\n")
        break
    assert attached.dropped == {"stdout": 0, "stderr": 0}
    attached.detach()
    look = await sandbox.attach(spawned.id, follow=False)
    assert await look.stdout.read_all() == b"begun\n"
    assert await look.stderr.read_all() == b""
    await look.kill()
    assert look.info.id not in [process.id for process in await sandbox.processes()]
    step("async: exec, start, spawn, attach, and all calls of a process")


async def async_files(sandbox: AsyncSandbox) -> None:
    files = sandbox.files
    await files.mkdir("/tmp/async")
    async with files.watch("/tmp/async") as changes:
        await files.write("/tmp/async/a", b"first")
        async for change in changes:
            if (change.to or change.path) == "/tmp/async/a":
                break
        await changes.aclose()
    assert await files.read("/tmp/async/a") == b"first"
    assert await files.read_text("/tmp/async/a") == "first"
    with tempfile.TemporaryFile() as file:
        async with files.stream("/tmp/async/a") as stream:
            assert await stream.write_to(file) == 5
        file.seek(0)
        await files.write("/tmp/async/b", file)
    assert await (await files.stream("/tmp/async/b")).read_all() == b"first"
    await (await files.stream("/tmp/async/b")).aclose()
    assert (await files.stat("/tmp/async/b")).size_bytes == 5
    await files.rename("/tmp/async/b", "/tmp/async/c")
    assert [file.name for file in await files.list("/tmp/async")] == ["a", "c"]
    async with files.tar("/tmp/async") as archive:
        await files.untar("/tmp/async-copy", archive)
    assert await files.exists("/tmp/async-copy/c")
    await files.remove("/tmp/async-copy", recursive=True)
    step("async: files")


async def async_ports(sandbox: AsyncSandbox) -> None:
    async with sandbox.start(["python3", "-c", SERVER]):
        for _ in range(100):
            async with sandbox.request(18080, "/by/request") as response:
                if response.status == 200:
                    assert "server" in response.headers
                    assert await response.text() == "served /by/request"
                    break
            await asyncio.sleep(0.1)
        async with sandbox.connect(18080) as connection:
            await connection.send(b"GET /by/connect HTTP/1.0\r\n\r\n")
            assert b"".join([data async for data in connection]).endswith(b"served /by/connect")
        async with sandbox.forward(18080) as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            writer.write(b"GET /by/forward HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"served /by/forward")
            writer.close()
            await forward.aclose()
    await sandbox.files.write("/tmp/www/list", "[1]", parents=True)
    async with sandbox.start(["python3", "-m", "http.server", "18080"], cwd="/tmp/www"):
        for _ in range(100):
            async with sandbox.request(18080, "/list") as response:
                if response.status == 200:
                    assert await response.json() == [1]
                    break
            await asyncio.sleep(0.1)
    if IS_REMOTE:
        assert sandbox.url(18080)
    step("async: ports")


async def async_life_cycle(client: AsyncClient, sandbox: AsyncSandbox) -> None:
    assert (await sandbox.pause()).state == "paused"
    try:
        assert (await sandbox.push()).id == sandbox.id
        assert (await client.pull_sandbox(sandbox.id)).info.state == "paused"
    except UsageError:
        pass  # This node uses no store.
    assert (await sandbox.resume()).state == "running"
    (fork,) = await sandbox.fork()
    assert fork.info.parent == sandbox.id
    await fork.kill()
    await sandbox.snapshot(f"{MARK}-async")
    await client.templates.remove(f"{MARK}-async")
    step("async: pause, resume, fork, kill, snapshot")


async def in_an_event_loop() -> None:
    async with AsyncClient() as client:
        await async_service_templates_and_builds(client)
        await async_disk(client)
        async with client.sandbox(image=IMAGE, metadata={"mark": f"{MARK}-async"}, network="none") as sandbox:
            assert sandbox.info.held
            await async_look_up(client, sandbox)
            await async_programs(sandbox)
            await async_files(sandbox)
            await async_ports(sandbox)
            await async_life_cycle(client, sandbox)
        await client.aclose()


if __name__ == "__main__":
    in_threads()
    asyncio.run(in_an_event_loop())
    print("every call works")
