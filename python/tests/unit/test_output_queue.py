from __future__ import annotations

from kiln import OutputData, OutputDropped, OutputEvent
from kiln._wire.output_queue import MAX_KEPT_BYTES, OutputQueue

PIECE = b"x" * 64 * 1024


def drain(queue: OutputQueue) -> list[OutputEvent]:
    found = []
    while (event := queue.pop()) is not None:
        found.append(event)
    return found


def size(events: list[OutputEvent]) -> int:
    return sum(event.bytes if isinstance(event, OutputDropped) else len(event.data) for event in events)


def test_gives_what_it_was_given_of_the_outputs_that_are_wanted() -> None:
    queue = OutputQueue("stderr")
    queue.push(OutputData("stdout", b"no"))
    queue.push(OutputData("stderr", b"one"))
    queue.push(OutputDropped("stderr", 5))
    assert not queue.empty
    assert drain(queue) == [OutputData("stderr", b"one"), OutputDropped("stderr", 5)]
    assert queue.empty


def test_without_a_reader_the_oldest_gives_way_and_all_of_it_is_told() -> None:
    queue = OutputQueue("both")
    for _ in range(40):
        queue.push(OutputData("stdout", PIECE))
        queue.push(OutputData("stderr", PIECE))
        assert not queue.full
    queue.push(OutputDropped("stdout", 7))
    queue.push(OutputData("stdout", b"last"))
    events = drain(queue)
    assert events[-1] == OutputData("stdout", b"last")
    assert len([event for event in events if isinstance(event, OutputDropped)]) <= 3
    kept = sum(len(event.data) for event in events if isinstance(event, OutputData))
    assert MAX_KEPT_BYTES - len(PIECE) < kept <= MAX_KEPT_BYTES
    assert size(events) == 80 * len(PIECE) + 7 + 4


def test_a_reader_is_waited_for_and_loses_nothing_until_it_stops() -> None:
    queue = OutputQueue("both")
    queue.begin_reading()
    for _ in range(20):
        queue.push(OutputData("stdout", PIECE))
    assert queue.full
    assert queue.pop() == OutputData("stdout", PIECE)
    queue.end_reading()
    assert not queue.full
    assert size(drain(queue)) == 19 * len(PIECE)
