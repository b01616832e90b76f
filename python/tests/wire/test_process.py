"""Programs and their output over connections that are cut."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Callable

import pytest

from kiln import (
    Client,
    ConnectionLostError,
    ExitStatus,
    KilnTimeoutError,
    OutputData,
    OutputDropped,
    ProcessNotFoundError,
    Terminal,
    UsageError,
    VmFailedError,
)
from tests.support.blocking import sandbox_of
from tests.support.wire import EXIT, EXITED, PING, STARTED, dropped, error, frame, process

if TYPE_CHECKING:
    from tests.support.server import Exchange, Server

Step = Callable[["Exchange"], None]
PROCESSES = "/v1/sandboxes/s1/processes"


@pytest.fixture
def play(serve: Callable[..., Server]) -> Callable[..., Server]:
    """Answers the requests in order, each with its step; what comes after them gets an empty answer."""

    def play(*steps: Step) -> Server:
        left = list(steps)

        def handle(exchange: Exchange) -> None:
            step = left.pop(0) if left else None
            if step is None:
                exchange.reply(None, 204)
            else:
                step(exchange)

        return serve(handle)

    return play


def ends_with(*frames: bytes) -> Step:
    def step(exchange: Exchange) -> None:
        exchange.begin()
        for data in frames:
            exchange.piece(data)
        exchange.end()

    return step


def cut_after(*frames: bytes) -> Step:
    def step(exchange: Exchange) -> None:
        exchange.begin()
        for data in frames:
            exchange.piece(data)
        time.sleep(0.05)
        exchange.cut()

    return step


def goes_on(*frames: bytes) -> Step:
    """Sends frames, and then nothing until the client goes away."""

    def step(exchange: Exchange) -> None:
        exchange.begin()
        for data in frames:
            exchange.piece(data)
        exchange.wait_for_end()

    return step


def refuses(code: str, status: int = 404) -> Step:
    return lambda exchange: exchange.reply(error(code), status)


def test_exec_gives_what_the_program_did(play: Callable[..., Server], client: Client) -> None:
    def step(exchange: Exchange) -> None:
        assert exchange.data == {
            "argv": ["x", "ü"],
            "env": {"A": "b"},
            "cwd": "/tmp",
            "user": "me",
            "timeout_ms": 1500,
            "stdin": False,
            "background": False,
        }
        assert exchange.fields["content-type"] == "application/json"
        ends_with(STARTED, frame(1, "grüß".encode()), frame(2, b"\xff"), EXIT)(exchange)

    play(step, step)
    sandbox = sandbox_of(client)
    options = {"env": {"A": "b"}, "cwd": "/tmp", "user": "me", "timeout": 1.5}
    result = sandbox.exec(["x", "ü"], **options)  # type: ignore[call-overload]
    assert (result.stdout, result.stderr, result.exit_code) == ("grüß", "\ufffd", 7)
    assert (result.signal, result.timed_out, result.truncated) == (None, False, False)
    raw = sandbox.exec(["x", "ü"], text=False, **options)  # type: ignore[call-overload]
    assert (raw.stdout, raw.stderr) == ("grüß".encode(), b"\xff")


def test_exec_goes_on_after_cuts_from_where_it_was(play: Callable[..., Server], client: Client) -> None:
    server = play(
        cut_after(STARTED, frame(1, b"one "), frame(2, b"warning"), frame(1, b"tw")[:6]),
        cut_after(STARTED, PING, frame(1, b"two ")),
        ends_with(STARTED, dropped("stdout", 10), frame(1, b"three")),
        ends_with(STARTED, frame(0, {"type": "error", "error": error("SHUTTING_DOWN")})),
        ends_with(STARTED, EXIT),
    )
    result = sandbox_of(client).exec(["x"])
    assert (result.stdout, result.stderr, result.exit_code) == ("one two three", "warning", 7)
    assert result.truncated, "ten bytes were missing"
    assert server.requests == [
        f"POST {PROCESSES}?attach=true",
        f"GET {PROCESSES}/p1/output?stdout=4&stderr=7&follow=true",
        f"GET {PROCESSES}/p1/output?stdout=8&stderr=7&follow=true",
        f"GET {PROCESSES}/p1/output?stdout=23&stderr=7&follow=true",
        f"GET {PROCESSES}/p1/output?stdout=23&stderr=7&follow=true",
    ]


def test_a_start_whose_beginning_was_not_heard_of_is_not_repeated(play: Callable[..., Server], client: Client) -> None:
    server = play(lambda exchange: exchange.cut())
    with pytest.raises(ConnectionLostError):
        sandbox_of(client).exec(["x"])
    assert server.requests == [f"POST {PROCESSES}?attach=true"]


def test_a_process_that_is_not_there_any_more_after_a_cut_is_told_of(
    play: Callable[..., Server], client: Client
) -> None:
    play(cut_after(STARTED), refuses("PROCESS_NOT_FOUND"))
    with pytest.raises(ProcessNotFoundError):
        sandbox_of(client).exec(["x"])


def test_what_the_daemon_says_is_wrong_is_told_and_the_process_is_not_left_behind(
    play: Callable[..., Server], client: Client
) -> None:
    server = play(ends_with(STARTED, frame(0, {"type": "error", "error": error("VM_FAILED")})))
    with pytest.raises(VmFailedError):
        sandbox_of(client).exec(["x"])
    assert server.requests[1:] == [f"DELETE {PROCESSES}/p1"]


def test_an_exec_that_takes_too_long_is_killed(play: Callable[..., Server], client: Client) -> None:
    server = play(goes_on(STARTED, frame(1, b"some")))
    with pytest.raises(KilnTimeoutError):
        sandbox_of(client).exec(["x"], request_timeout=0.5)
    assert server.requests[1:] == [f"DELETE {PROCESSES}/p1"]


def test_exec_keeps_output_up_to_a_limit(play: Callable[..., Server], client: Client) -> None:
    step = ends_with(STARTED, frame(1, b"12345"), frame(2, b"1234"), frame(1, b"678"), EXIT)
    play(step, step)
    result = sandbox_of(client).exec(["x"], max_output_bytes=4)
    assert (result.stdout, result.stderr, result.truncated) == ("1234", "1234", True)
    assert not sandbox_of(client).exec(["x"], max_output_bytes=8).truncated


def test_exec_sends_its_input_while_output_comes(serve: Callable[..., Server], client: Client) -> None:
    received = bytearray()
    closed = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.target.startswith(f"{PROCESSES}/p1/stdin"):
            received.extend(exchange.body)
            exchange.reply(None, 204)
            if exchange.target.endswith("?end=true"):
                closed.set()
            return
        assert exchange.data["stdin"] is True
        exchange.begin()
        exchange.piece(STARTED)
        assert closed.wait(10)
        exchange.piece(EXIT)
        exchange.end()

    server = serve(handle)
    data = b"x" * 2_500_000
    assert sandbox_of(client).exec(["x"], input=data).exit_code == 7
    assert received == data
    assert len(server.requests) == 4
    assert sandbox_of(client).exec(["x"], input="text").exit_code == 7


def test_input_that_is_not_read_is_no_failure(play: Callable[..., Server], client: Client) -> None:
    def step(exchange: Exchange) -> None:
        exchange.begin()
        exchange.piece(STARTED)
        time.sleep(0.3)
        exchange.piece(EXIT)
        exchange.end()

    play(step, refuses("PROCESS_NOT_FOUND"))
    assert sandbox_of(client).exec(["x"], input="nobody reads it").exit_code == 7


def test_a_process_is_told_as_it_goes(play: Callable[..., Server], client: Client) -> None:
    go_on = threading.Event()

    def step(exchange: Exchange) -> None:
        assert exchange.data["terminal"] == {"rows": 24, "columns": 80}
        exchange.begin()
        exchange.piece(STARTED + frame(1, b"one\ntw"))
        assert go_on.wait(10)
        exchange.piece(frame(2, b"warning") + frame(1, b"o\nlast") + EXIT)
        exchange.end()

    server = play(step)
    with sandbox_of(client).start(["x"], stdin=True, terminal=Terminal(24, 80)) as started:
        assert started.id == "p1"
        assert started.info.state == "running"
        lines = iter(started.stdout.lines())
        assert next(lines) == "one"
        with pytest.raises(KilnTimeoutError):
            started.wait(timeout=0.1)
        go_on.set()
        assert list(lines) == ["two", "last"]
        assert started.stderr.read_all() == b"warning"
        assert started.wait() == ExitStatus(7)
        assert started.info.exit_code == 7
        assert list(started.output) == [
            OutputData("stdout", b"one\ntw"),
            OutputData("stderr", b"warning"),
            OutputData("stdout", b"o\nlast"),
        ]
    assert server.requests == [f"POST {PROCESSES}?attach=true"], "what has ended is not killed"


def test_what_nobody_reads_does_not_hold_it_up_and_of_it_the_end_is_kept(
    play: Callable[..., Server], client: Client
) -> None:
    chunk = b"x" * 64 * 1024
    play(ends_with(STARTED, *[frame(2, chunk)] * 40, frame(1, b"a"), frame(2, b"last"), EXIT))
    started = sandbox_of(client).start(["x"])
    assert started.wait(timeout=30).exit_code == 7
    stderr = started.stderr.read_all()
    assert 900_000 < len(stderr) <= 1024 * 1024
    assert stderr.endswith(b"xlast")
    everything = sum(event.bytes if isinstance(event, OutputDropped) else len(event.data) for event in started.output)
    assert everything == 40 * len(chunk) + 5, "what is not there any more is told"
    assert started.dropped == {"stdout": 0, "stderr": 0}, "that was dropped here, not by the guest"


def test_a_slow_reader_holds_it_up_and_gets_all_of_it(serve: Callable[..., Server], client: Client) -> None:
    chunk = b"y" * 64 * 1024
    sent = 0
    held_up = threading.Event()

    def handle(exchange: Exchange) -> None:
        nonlocal sent
        exchange.begin()
        exchange.piece(STARTED)
        for count in range(160):
            exchange.piece(frame(1, chunk))
            sent = count
        exchange.piece(EXIT)
        exchange.end()

    serve(handle)
    started = sandbox_of(client).start(["x"])
    reader = iter(started.stdout)
    size = len(next(reader))
    held_up.wait(0.5)
    assert sent < 159, "the server waits for the reader"
    size += sum(len(data) for data in reader)
    assert size == 160 * len(chunk)
    assert started.wait().exit_code == 7


def test_dropped_output_is_told(play: Callable[..., Server], client: Client) -> None:
    play(ends_with(STARTED, dropped("stdout", 5), frame(1, b"rest"), dropped("stderr", 2), EXIT))
    started = sandbox_of(client).attach("p1")
    assert list(started.output) == [
        OutputDropped("stdout", 5),
        OutputData("stdout", b"rest"),
        OutputDropped("stderr", 2),
    ]
    assert started.dropped == {"stdout": 5, "stderr": 2}


def test_attaching_takes_offsets_and_may_not_follow(play: Callable[..., Server], client: Client) -> None:
    still_running = frame(0, {"type": "exit", "process": process()})
    server = play(ends_with(STARTED, frame(1, b"rest"), still_running))
    look = sandbox_of(client).attach("p1", stdout=3, stderr=4, follow=False)
    assert look.stdout.read_all() == b"rest"
    with pytest.raises(UsageError, match="still runs"):
        look.wait()
    assert server.requests == [f"GET {PROCESSES}/p1/output?stdout=3&stderr=4&follow=false"]


def test_attaching_to_nothing_is_told(play: Callable[..., Server], client: Client) -> None:
    play(refuses("PROCESS_NOT_FOUND"))
    with pytest.raises(ProcessNotFoundError):
        sandbox_of(client).attach("p9")


def test_a_failure_is_told_to_whoever_waits_and_reads(play: Callable[..., Server], client: Client) -> None:
    play(ends_with(STARTED, frame(1, b"some"), frame(0, {"type": "error", "error": error("VM_FAILED")})))
    started = sandbox_of(client).start(["x"])
    with pytest.raises(VmFailedError):
        started.wait()
    reader = iter(started.stdout)
    assert next(reader) == b"some"
    with pytest.raises(VmFailedError):
        next(reader)


def test_a_start_that_takes_too_long_is_given_up(
    play: Callable[..., Server], client: Client, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    gone = threading.Event()

    def step(exchange: Exchange) -> None:
        exchange.wait_for_end()
        gone.set()

    play(step)
    with pytest.raises(KilnTimeoutError):
        sandbox_of(client).start(["x"], request_timeout=0.3)
    client.close()
    eventually(gone.is_set)


def test_calls_of_a_process(play: Callable[..., Server], client: Client) -> None:
    bodies: list[bytes] = []

    def keep(exchange: Exchange) -> None:
        time.sleep(0.05)
        bodies.append(exchange.body)
        exchange.reply(None, 204)

    server = play(
        goes_on(STARTED),
        *[keep] * 5,
        lambda exchange: exchange.reply(process(stdout_bytes=9)),
    )
    started = sandbox_of(client).start(["x"], stdin=True)
    writers = [threading.Thread(target=started.write, args=[b"%d" % count]) for count in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    started.close_stdin("ü")
    started.signal("SIGTERM")
    started.resize(30, 100)
    assert started.refresh().stdout_bytes == started.info.stdout_bytes == 9
    started.kill()
    assert sorted(bodies[:2]) == [b"0", b"1"]
    assert bodies[2:] == ["ü".encode(), b'{"signal":"SIGTERM"}', b'{"rows":30,"columns":100}']
    assert server.requests[1:] == [
        f"POST {PROCESSES}/p1/stdin",
        f"POST {PROCESSES}/p1/stdin",
        f"POST {PROCESSES}/p1/stdin?end=true",
        f"POST {PROCESSES}/p1/signal",
        f"POST {PROCESSES}/p1/resize",
        f"GET {PROCESSES}/p1",
        f"DELETE {PROCESSES}/p1",
    ]
    with pytest.raises(UsageError, match="let go of"):
        started.wait(timeout=10)
    assert list(started.stdout) == []


def test_leaving_the_block_kills_it(
    play: Callable[..., Server], client: Client, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    server = play(goes_on(STARTED))
    with sandbox_of(client).start(["x"]):
        pass
    eventually(lambda: server.requests[1:] == [f"DELETE {PROCESSES}/p1"])


def test_a_background_process_is_left_alone(play: Callable[..., Server], client: Client) -> None:
    gone = threading.Event()

    def step(exchange: Exchange) -> None:
        assert exchange.data["background"] is True
        goes_on(frame(0, {"type": "started", "process": process(background=True)}))(exchange)
        gone.set()

    server = play(step)
    with sandbox_of(client).start(["x"], background=True, buffer_bytes=2048):
        pass
    assert gone.wait(10), "its output is let go of"
    assert server.requests == [f"POST {PROCESSES}?attach=true"]


def test_killing_one_that_is_gone_is_no_error(play: Callable[..., Server], client: Client) -> None:
    play(goes_on(STARTED), refuses("PROCESS_NOT_FOUND"), goes_on(STARTED), refuses("SANDBOX_STATE", 409))
    for _ in range(2):
        sandbox_of(client).start(["x"]).kill()


def test_spawn_and_list(play: Callable[..., Server], client: Client) -> None:
    def step(exchange: Exchange) -> None:
        assert exchange.data["background"] is True
        exchange.reply(process(background=True), 201)

    server = play(step, lambda exchange: exchange.reply({"processes": [process(), EXITED]}))
    assert sandbox_of(client).spawn(["x"]).background
    assert [info.exit_code for info in sandbox_of(client).processes()] == [None, 7]
    assert server.requests == [f"POST {PROCESSES}", f"GET {PROCESSES}"]
