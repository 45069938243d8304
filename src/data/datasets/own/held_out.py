"""Validation part of the user's own videos where no list names one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from src.structures import Clip

log = logging.getLogger(__name__)

_TENTH = 10


def held_out(clips: Sequence[Clip], split: Literal["train", "val"], found: str) -> list[Clip]:
    """Return the training or the validation part: a tenth of the labels, at least one, is held out for validation.

    Of ten labelled videos or more, every tenth is held out as a whole. Of fewer, the last labelled frames are, divided over the
    videos, each with the unlabelled frames before it.

    Args:
        clips: all videos.
        split: part to return; ``val`` is logged.
        found: what is missing, for the log and the error.

    Raises:
        ValueError: if fewer than two frames are labelled.
    """
    labels = [clip.labelled_frames for clip in clips]
    total = sum(map(len, labels))
    if total < 2:
        raise ValueError(f"{found} and {total} labelled frames; expected at least 2, to hold one out, or the list")
    starts = _starts(labels, max(round(total / _TENTH), 1))
    if split == "train":
        return [_part(clip, 0, start) for clip, start in zip(clips, starts, strict=True) if start]
    parts = [(clip, start) for clip, start in zip(clips, starts, strict=True) if start < len(clip)]
    names = [clip.name + (f" from {clip.images[start].name} on" if start else "") for clip, start in parts[:3]]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    held = [_part(clip, start, len(clip)) for clip, start in parts]
    count = sum(len(clip.labelled_frames) for clip in held)
    log.info("%s: %d of %d labelled frames are held out (%s%s)", found, count, total, ", ".join(names), more)
    return held


def _starts(labels: Sequence[Sequence[int]], wanted: int) -> list[int]:
    """Return the first held-out frame of each video; a number beyond its frames where it is for training."""
    beyond = 2**31
    videos = [n for n, frames in enumerate(labels) if frames]
    if len(videos) >= _TENTH:
        whole = set(videos[_TENTH - 1 :: _TENTH])
        return [0 if n in whole else beyond for n in range(len(labels))]
    taken = [0] * len(labels)
    for _ in range(wanted):
        # The largest quotient divides the labels in proportion.
        taken[max(videos, key=lambda n: len(labels[n]) / (taken[n] + 1))] += 1
    return [
        beyond if not count else frames[-count - 1] + 1 if count < len(frames) else 0
        for frames, count in zip(labels, taken, strict=True)
    ]


def _part(clip: Clip, start: int, stop: int) -> Clip:
    return replace(clip, images=clip.images[start:stop], labels=clip.labels[start:stop])
