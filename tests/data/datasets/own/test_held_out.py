"""Laws of the held-out part: disjoint, about a tenth of the labels, and named in the log."""

import logging
from pathlib import Path

import pytest

from src.data.datasets.own.held_out import held_out
from src.structures import Clip


def clip(name: str, *labelled: int, length: int = 12) -> Clip:
    return Clip(
        name,
        tuple(Path(f"{name}/{n}.jpg") for n in range(length)),
        tuple(Path(f"{name}/{n}.png") if n in labelled else None for n in range(length)),
    )


def numbers(clips: list[Clip]) -> list[tuple[str, int, int]]:
    return [(one.name, int(one.images[0].stem), int(one.images[-1].stem)) for one in clips]


def test_few_videos_give_their_last_labelled_frames(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clips = [clip("a", *range(12)), clip("b", 0, 4, 8), clip("c", 5), clip("d")]
    held, kept = held_out(clips, "val", "x has no val.txt"), held_out(clips, "train", "x has no val.txt")
    assert numbers(held) == [("a", 10, 11)] and held[0].labels[0] == Path("a/10.png")
    assert numbers(kept) == [("a", 0, 9), ("b", 0, 11), ("c", 0, 11), ("d", 0, 11)]
    assert caplog.messages == ["x has no val.txt: 2 of 16 labelled frames are held out (a from 10.jpg on)"]


def test_frames_before_a_held_out_label_are_held_out_with_it() -> None:
    held = held_out([clip("a", 0, 4, 8)], "val", "x")
    assert numbers(held) == [("a", 5, 11)] and held[0].labelled_frames == (3,)


def test_videos_of_one_label_are_held_out_as_a_whole() -> None:
    clips = [clip(name, 3) for name in "abc"]
    assert numbers(held_out(clips, "val", "x")) == [("a", 0, 11)]
    assert [one.name for one in held_out(clips, "train", "x")] == ["b", "c"]


def test_of_many_videos_every_tenth_is_held_out() -> None:
    clips = [clip("raw"), *(clip(str(n), 1, 2) for n in range(20))]
    assert [one.name for one in held_out(clips, "val", "x")] == ["9", "19"]
    assert [one.name for one in held_out(clips, "train", "x")] == ["raw", *(str(n) for n in range(20) if n not in (9, 19))]


def test_one_label_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"x has no val\.txt and 1 labelled frames; expected at least 2"):
        held_out([clip("a", 1)], "train", "x has no val.txt")
