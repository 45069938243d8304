"""A stream seen through its thumbnails: how much has changed since the key frame, and whether the scene was cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from src.inference.scheduling.signals import difference_and_similarity, thumbnail
from src.structures import KeyFrameState

_MEMORY = 100  # frames; a stop at a red light is not to become typical, a change of road is
_CUT_RATIO = 2.0  # times the typical difference: in darkness or fog, noise alone makes neighbours dissimilar


@dataclass(frozen=True)
class ChangeState:
    """What is restored of a stream.

    Attributes:
        thumbnail: of the frame last seen.
        key_thumbnail: of the key frame.
        change: since the key frame, in frames of typical change.
        difference_sum: of neighbouring frames, grey levels, fading; a cut counts no more than twice the typical difference.
        difference_weight: of that sum, so that their ratio is the typical difference.
        cut: whether the scene was cut since the key frame.
    """

    thumbnail: Tensor
    key_thumbnail: Tensor
    change: float = 0.0
    difference_sum: float = 0.0
    difference_weight: float = 0.0
    cut: bool = False

    def key(self) -> ChangeState:
        """The frame last seen became the key frame."""
        return replace(self, key_thumbnail=self.thumbnail, change=0.0, cut=False)


def update_change(
    image: Tensor, before: ChangeState | None, weight: float, cut_similarity: float, start: float = 0.0
) -> ChangeState:
    """Look at the next frame of a stream.

    Its step counts ``1 - weight + weight * difference / typical difference``: in a stream of even motion each frame counts 1, so
    that ``change`` is the number of frames since the key frame; where more moves than usual it runs ahead.

    Args:
        image: (1, 3, H, W), RGB 0..255.
        before: what was restored; ``None`` at the start.
        weight: of what is seen against what has passed, 0..1.
        cut_similarity: neighbours less similar than this are a cut, unless the whole stream is as restless.
        start: ``change`` at the start.

    Raises:
        ValueError: if the batch is not one stream.
    """
    if len(image) != 1:
        raise ValueError(
            f"{len(image)} streams go in step, but this scheduler decides for each by what it sees: use step_streams for several"
        )
    shown = thumbnail(image)
    if before is None or before.thumbnail.shape != shown.shape:
        return ChangeState(shown, shown, start)
    difference, similarity = difference_and_similarity(before.thumbnail, shown)
    typical = before.difference_sum / before.difference_weight if before.difference_weight else None
    cut = similarity < cut_similarity and (typical is None or difference > _CUT_RATIO * typical)
    # A cut does not say how much moves here; cut after cut does.
    counted = difference if not cut else 0.0 if typical is None else _CUT_RATIO * typical
    fade = 1 - 1 / _MEMORY
    total = fade * before.difference_sum + counted
    count = fade * before.difference_weight + (counted > 0 or not cut)
    # In a stream of equal frames nothing changes, and nothing is more than typical.
    step = 1.0 if cut else 1 - weight + weight * (difference / (total / count) if total > 0 else 0.0)
    return ChangeState(shown, before.key_thumbnail, before.change + step, total, count, before.cut or cut)


def restored(state: KeyFrameState | None, kind: type[ChangeState] = ChangeState) -> ChangeState | None:
    """What the state holds of an earlier look.

    Raises:
        ValueError: if another scheduler has left something else there.
    """
    found = None if state is None else state.schedule
    if found is not None and not isinstance(found, kind):
        raise ValueError(f"the stream's state comes from another scheduler ({type(found).__name__}): start a new stream")
    return found
