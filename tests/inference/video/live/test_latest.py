import threading
from collections.abc import Callable, Generator
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from src.inference.video.live.latest import LONG_GAP, LiveFrames, LiveOptions, Picture, Retry
from src.inference.video.sources import SourceInfo

INFO = SourceInfo("a stream", Fraction(25), Fraction(1, 90_000))
ONCE = LiveOptions(retry=Retry(attempts=0))


def picture() -> Tensor:
    return torch.zeros(3, 4, 6, dtype=torch.uint8)


def test_each_frame_is_the_newest_one_and_the_others_are_counted() -> None:
    wanted, arrived = threading.Event(), threading.Event()

    def connect() -> Generator[Picture, None, None]:
        yield from [picture] * 10
        wanted.wait(30)
        yield from [picture] * 10
        arrived.set()
        wanted.clear()
        wanted.wait(30)

    source = LiveFrames(INFO, connect, ONCE)
    frames = iter(source)
    next(frames)
    wanted.set()
    # A predictor that takes as long as ten frames need to arrive.
    assert arrived.wait(30)
    assert next(frames).name == "000019" and source.dropped == 18
    wanted.set()
    assert list(frames) == [] and source.dropped == 18
    assert source.decode_errors == ["a stream: the stream ended; after 20 frames and 0 attempts to reconnect"]


def test_a_lost_connection_comes_back_and_starts_another_part(caplog: pytest.LogCaptureFixture) -> None:
    taken = threading.Semaphore(0)
    connections: list[int] = []

    def connect() -> Generator[Picture, None, None]:
        connections.append(len(connections))
        if len(connections) in (2, 3):
            raise OSError("a stream cannot be read: Connection refused")
        for _ in range(3):
            yield picture
            taken.acquire()

    source = LiveFrames(INFO, connect, LiveOptions(retry=Retry(0.001, 3)))
    found = []
    for frame in source:
        found.append(frame)
        taken.release()
        if len(found) == 6:
            break
    # Three attempts, then frames: the attempts count anew.
    assert [frame.part for frame in found] == [0, 0, 0, 3, 3, 3] and source.reconnects == 1
    assert [frame.name for frame in found] == [f"{number:06d}" for number in range(6)]
    assert all(one.time < other.time for one, other in pairwise(found))
    assert "Connection refused after 3 frames; reconnecting in 0.0 s" in caplog.text


def test_the_attempts_have_an_end() -> None:
    def connect() -> Generator[Picture, None, None]:
        raise OSError("a stream cannot be read: Connection refused")
        yield picture

    source = LiveFrames(INFO, connect, LiveOptions(retry=Retry(0.001, 2)))
    assert list(source) == []
    assert source.decode_errors == ["a stream cannot be read: Connection refused; after 0 frames and 2 attempts to reconnect"]


def test_delays_double_up_to_a_limit_and_differ_at_random() -> None:
    retry = Retry(1.0, 10)
    assert [retry.delay(failures, 0.0) for failures in (0, 1, 2, 4, 5, 2000)] == [1, 2, 4, 16, 30, 30]
    assert retry.delay(2, 1.0) == 2 and Retry(60.0).delay(3, 0.0) == 60


def timed(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def one_by_one(count: int, taken: threading.Semaphore) -> Callable[[], Generator[Picture, None, None]]:
    def connect() -> Generator[Picture, None, None]:
        for _ in range(count):
            yield picture
            taken.acquire()

    return connect


def test_a_long_gap_starts_another_part_with_the_real_times() -> None:
    taken = threading.Semaphore(0)
    source = LiveFrames(INFO, one_by_one(3, taken), ONCE, clock=timed(10.0, 10.5, 10.5 + LONG_GAP + 1))
    found = []
    for frame in source:
        found.append(frame)
        taken.release()
    assert [float(frame.time) for frame in found] == [0, 0.5, 1.5 + LONG_GAP]
    assert [frame.part for frame in found] == [0, 0, 1]


def test_a_stream_ends_after_its_seconds_though_nothing_arrives() -> None:
    taken = threading.Semaphore(0)
    options = LiveOptions(retry=Retry(attempts=0), max_seconds=5)
    source = LiveFrames(INFO, one_by_one(2, taken), options, clock=timed(1.0, 2.0, 7.0))
    assert len(list(source)) == 1 and source.decode_errors == []
    taken.release(2)


def test_a_stop_ends_the_wait_for_a_frame() -> None:
    taken, stop = threading.Semaphore(0), threading.Event()
    frames = LiveFrames(INFO, one_by_one(2, taken), ONCE).until(stop)
    next(frames)
    stop.set()
    assert list(frames) == []
    taken.release(2)


def test_an_error_of_the_program_is_raised() -> None:
    def connect() -> Generator[Picture, None, None]:
        raise KeyError("a bug")
        yield picture

    with pytest.raises(KeyError, match="a bug"):
        list(LiveFrames(INFO, connect, ONCE))


def test_frames_that_cannot_be_converted_are_one_error() -> None:
    taken = threading.Semaphore(1)

    def broken() -> Tensor:
        taken.release()
        raise ValueError("odd pixels")

    def connect() -> Generator[Picture, None, None]:
        for _ in range(5):
            taken.acquire()
            yield broken
        raise OSError("the camera is gone")

    source = LiveFrames(INFO, connect, ONCE)
    assert not list(source)
    assert source.dropped == 0
    assert (
        sorted(source.decode_errors)[0].endswith("5 frames cannot be converted (odd pixels)") and len(source.decode_errors) == 2
    )
