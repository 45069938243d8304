"""Settings of an evaluation's fusion: mode, rule, and whether key frames are fused."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Self

from src.inference.streaming import Mode
from src.models.fusion import FusionRule


class FrameKind(NamedTuple):
    """Work for a frame.

    Attributes:
        is_key: whether the frame is segmented.
        flows: number of key frames from which masks are carried to it.
        sources: number of predictions that are fused: more than the flows and its own if a fused key frame is carried on.
    """

    is_key: bool
    flows: int
    sources: int

    @classmethod
    def of(cls, is_key: bool, offsets: Sequence[int]) -> Self:
        """Return the kind of a frame with the offsets of a :class:`src.inference.step_result.StepResult`."""
        # Of each side one flow: it also carries the older masks of a fused key frame on.
        flows = sum(any(sign * offset > 0 for offset in offsets) for sign in (-1, 1))
        return cls(is_key, flows, len(offsets))


@dataclass(frozen=True)
class Fusing:
    """Settings of one result; see :class:`src.inference.streaming.StreamingSegmentor`.

    Attributes:
        mode: ``online`` or ``offline``.
        fusion: rule; ``None`` where nothing is fused.
        fuse_keys: whether key frames are fused.
    """

    mode: Mode = "online"
    fusion: FusionRule | None = None
    fuse_keys: bool = False

    @property
    def words(self) -> list[str]:
        """Words of titles and file names; none where nothing is fused."""
        offline = ["offline"] if self.mode == "offline" else []
        return [*offline, *([self.fusion] if self.fusion else []), *(["fused keys"] if self.fuse_keys else [])]

    @property
    def columns(self) -> dict[str, Any]:
        """Columns of a row."""
        return {"mode": self.mode, "fusion": self.fusion, "fuse_keys": self.fuse_keys}

    @property
    def kinds(self) -> tuple[FrameKind, FrameKind]:
        """Kinds of a key frame and of a non-key frame whose neighboring key frames are there."""
        neighbors = 2 if self.mode == "offline" else 1
        key = FrameKind(True, neighbors, neighbors + 1) if self.fuse_keys else FrameKind(True, 0, 1)
        return key, FrameKind(False, neighbors, 2 if self.mode == "offline" else key.sources)


PLAIN = Fusing()
"""Every frame from the key frame before."""


def fusings(modes: Sequence[Mode], rules: Sequence[FusionRule], fuse_keys: Sequence[bool]) -> list[Fusing]:
    """List the different combinations; without fused key frames, the rule has no effect on ``online``."""
    every = product(modes, rules, fuse_keys)
    found = [Fusing(mode, rule if mode == "offline" or keys else None, keys) for mode, rule, keys in every]
    return list(dict.fromkeys(found))
