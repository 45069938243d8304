"""Clips whose reading sends a signal to the process, so that tests stop an evaluation at a known frame."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX
from tests.inference.tiny import FakeClips


class SignalledClips(FakeClips):
    """Sends ``number`` to this process (of rank ``rank``, if given) when the image after ``images`` others is read."""

    def __init__(self, images: int, number: int, lengths: tuple[int, ...] = (6, 4), rank: int | None = None):
        super().__init__(tuple(lengths))
        self._left, self._number = images, number
        self._mine = rank is None or os.environ.get("RANK") == str(rank)

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        self._left -= 1
        if self._left == -1 and self._mine:
            os.kill(os.getpid(), self._number)
        return super().read_image(clip, frame, interleaved)


class VoidClips(FakeClips):
    """Every label is void."""

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.full_like(super().read_label(clip, frame, dtype), IGNORE_INDEX)
