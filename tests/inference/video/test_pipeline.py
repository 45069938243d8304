import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TypeVar

import pytest

from src.inference.video.pipeline import run_pipeline

A = TypeVar("A")
B = TypeVar("B")


def each(function: Callable[[A], B]) -> Callable[[Iterator[A]], Iterator[B]]:
    """Work that yields one result per item at once."""
    return lambda items: map(function, items)


def held_back(interval: int) -> Callable[[Iterator[A]], Iterator[A]]:
    """Work that yields items in groups of ``interval``, and at the end those that it still holds."""

    def work(items: Iterator[A]) -> Iterator[A]:
        held: list[A] = []
        for item in items:
            held.append(item)
            if len(held) == interval:
                yield from held
                held.clear()
        yield from held

    return work


def test_every_item_is_consumed_once_and_in_order() -> None:
    out: list[int] = []

    def uneven(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    run_pipeline(range(60), each(uneven), out.append, depth=2)
    assert out == [i * i for i in range(60)]


def test_the_three_parts_run_in_parallel_threads() -> None:
    names: dict[str, set[int]] = {"source": set(), "work": set(), "consume": set()}

    def slow(part: str) -> None:
        names[part].add(threading.get_ident())
        time.sleep(0.02)

    def source() -> Iterator[int]:
        for i in range(15):
            slow("source")
            yield i

    start = time.perf_counter()
    run_pipeline(source(), each(lambda item: slow("work")), lambda item: slow("consume"))
    # One after the other they would take 0.9 s.
    assert time.perf_counter() - start < 0.7
    assert all(len(threads) == 1 for threads in names.values()) and len(set.union(*names.values())) == 3
    assert names["work"] == {threading.get_ident()}


@pytest.mark.parametrize("slow", ["work", "consume"])
def test_few_items_exist_at_a_time(slow: str) -> None:
    made = used = most = 0

    def source() -> Iterator[int]:
        nonlocal made
        for i in range(60):
            made += 1
            yield i

    def part(name: str) -> None:
        nonlocal used, most
        if name == slow:
            time.sleep(0.002)
        if name == "consume":
            used += 1
        most = max(most, made - used)

    run_pipeline(source(), each(lambda item: part("work")), lambda item: part("consume"), depth=3)
    assert used == 60 and most <= 2 * 3 + 3


@pytest.mark.parametrize("slow", ["work", "consume", "none"])
def test_few_bytes_exist_at_a_time(slow: str) -> None:
    lock, made, used, most = threading.Lock(), 0, 0, 0

    def source() -> Iterator[bytes]:
        nonlocal made, most
        for _ in range(30):
            with lock:
                made += 1
                most = max(most, made - used)
            yield bytes(100)

    def part(name: str, item: bytes) -> bytes:
        nonlocal used
        if name == slow:
            time.sleep(0.002)
        if name == "consume":
            with lock:
                used += 1
        return item

    def run(max_bytes: int) -> None:
        work = each(lambda item: part("work", item))
        run_pipeline(source(), work, lambda item: part("consume", item), 9, size=len, result_size=len, max_bytes=max_bytes)

    run(max_bytes=250)
    # Two that fit before the work and two behind it, one in it, and one that is counted as used only after its memory is free.
    assert used == 30 and most <= 6
    # A single item of any size is let in.
    run(max_bytes=1)
    assert used == 60


@pytest.mark.parametrize("max_bytes", [1, 250, 10**9])
def test_work_may_hold_back_more_than_all_queues(max_bytes: int) -> None:
    out: list[bytes] = []
    items = [bytes([number]) * 100 for number in range(200)]
    run_pipeline(items, held_back(64), out.append, depth=2, size=len, result_size=len, max_bytes=max_bytes)
    assert out == items


@pytest.mark.parametrize(("size", "most_waiting"), [(0, 3 + 2), (100, 2 + 1)])
def test_few_results_of_one_item_exist_at_a_time(size: int, most_waiting: int) -> None:
    made = used = most = 0

    def work(items: Iterator[int]) -> Iterator[int]:
        nonlocal made, most
        for _ in items:
            for number in range(40):
                made += 1
                most = max(most, made - used)
                yield number

    def consume(result: int) -> None:
        nonlocal used
        time.sleep(0.001)
        used += 1

    run_pipeline([0], work, consume, depth=3, result_size=lambda result: size, max_bytes=250)
    assert used == 40 and most <= most_waiting


@pytest.mark.parametrize("failing", ["work", "consume"])
def test_an_error_ends_a_source_that_waits_for_memory(failing: str) -> None:
    closed = threading.Event()

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(100)
        finally:
            closed.set()

    def part(name: str) -> None:
        if name == failing:
            raise OSError(name)

    with pytest.raises(OSError, match=failing):
        run_pipeline(source(), each(lambda item: part("work")), lambda item: part("consume"), size=len, max_bytes=1)
    assert closed.wait(5)


def test_an_error_of_the_source_is_raised_after_its_items() -> None:
    out: list[int] = []

    def source() -> Iterator[int]:
        yield from range(20)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        run_pipeline(source(), iter, out.append)
    assert out == list(range(20))


def test_items_held_back_become_results_before_an_error_of_the_source_is_raised() -> None:
    out: list[int] = []

    def source() -> Iterator[int]:
        yield from range(20)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        run_pipeline(source(), held_back(7), out.append)
    assert out == list(range(20))


def test_the_first_of_two_errors_is_raised() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise KeyError("first")

    def work(items: Iterator[int]) -> Iterator[int]:
        yield from items
        raise OSError("second")

    with pytest.raises(KeyError, match="first"):
        run_pipeline(source(), work, lambda item: None)


def test_a_source_that_cannot_be_opened_is_an_error() -> None:
    class Closed:
        def __iter__(self) -> Iterator[int]:
            raise OSError("closed")

    with pytest.raises(OSError, match="closed"):
        run_pipeline(Closed(), iter, lambda item: None)


def test_an_error_of_work_closes_the_source_and_keeps_earlier_results() -> None:
    out: list[int] = []
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(10_000_000)
        finally:
            closed.set()

    def work(item: int) -> int:
        return item if item < 5 else 1 // 0

    with pytest.raises(ZeroDivisionError):
        run_pipeline(source(), each(work), out.append)
    assert out == list(range(5)) and closed.is_set()


def test_an_error_of_the_consumer_is_raised_soon() -> None:
    worked: list[int] = []

    def consume(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_pipeline(range(10_000_000), each(worked.append), consume)
    assert len(worked) < 20
    # ... and also where the last item of all is the one that fails.
    with pytest.raises(OSError, match="disk full"):
        run_pipeline([1], iter, consume)


def test_stopping_keeps_earlier_results() -> None:
    out: list[int] = []
    stop = threading.Event()
    closed_in: list[int] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10_000_000)
        finally:
            closed_in.append(threading.get_ident())

    def work(item: int) -> int:
        if item == 7:
            stop.set()
        return item

    run_pipeline(source(), each(work), out.append, stop=stop)
    assert out == list(range(8))
    assert closed_in and closed_in[0] != threading.get_ident()


def test_stopping_makes_results_of_the_items_held_back() -> None:
    out: list[int] = []
    stop = threading.Event()

    def work(items: Iterator[int]) -> Iterator[int]:
        def stopping() -> Iterator[int]:
            for item in items:
                if item == 17:
                    stop.set()
                yield item

        return held_back(7)(stopping())

    run_pipeline(range(10_000_000), work, out.append, stop=stop)
    assert out == list(range(18))


@pytest.mark.parametrize("failing", [True, False])
def test_work_is_closed_in_the_calling_thread(failing: bool) -> None:
    closed_in: list[int] = []

    def work(items: Iterator[int]) -> Iterator[int]:
        try:
            yield from items
        finally:
            closed_in.append(threading.get_ident())

    def consume(item: int) -> None:
        if failing:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full") if failing else nullcontext():
        run_pipeline(range(99), work, consume)
    assert closed_in == [threading.get_ident()]


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    for _ in range(5):
        run_pipeline(range(9), iter, lambda item: None)
    assert threading.active_count() == before


def test_a_source_that_waits_can_be_stopped(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("src.inference.video.pipeline._JOIN_SECONDS", 0.2)
    hang, stop = threading.Event(), threading.Event()

    def camera() -> Iterator[int]:
        yield 1
        hang.wait(10)

    threading.Timer(0.2, stop.set).start()
    out: list[int] = []
    run_pipeline(camera(), iter, out.append, stop=stop)
    hang.set()
    assert out == [1] and "does not respond" in caplog.text
