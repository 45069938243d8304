"""Results of one frame of a stream, and the interface of streams."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from src.inference.stream_checks import FiniteCheck
from src.ops.masks import SEMANTIC_MAPS, MapSize, semantic_confidence
from src.ops.segment_flow import winning_flow
from src.ops.warp import disoccluded
from src.structures import FlowPrediction, KeyFrameState, KeyReason, MaskPrediction, Size


@dataclass(frozen=True)
class StepResult:
    """Result of one frame, before post-processing.

    Attributes:
        prediction: masks and classes of the frame, final layer; fused ones have ``shares``.
        flow: flow that propagated the masks, of two fused ones that from the key frame before; ``None`` on a key frame.
        state: state for the next step; of a delayed frame, the state after that frame.
        map_size: resolution of the sum over queries in :meth:`semantic_map`.
        offsets: signed distance in frames to the key frame of each source, in the order of ``prediction.shares``: (-2, 3) for a
            frame between two key frames, (-5, 0, 5) for a fused key frame.
    """

    prediction: MaskPrediction
    flow: FlowPrediction | None
    state: KeyFrameState
    map_size: MapSize = "image"
    offsets: tuple[int, ...] = (0,)

    @property
    def is_key(self) -> bool:
        """True for a key frame."""
        return self.flow is None

    def semantic_map(self, size: Size) -> Tensor:
        """Return the label map (B, H, W) int64 at ``size`` (H, W)."""
        return SEMANTIC_MAPS[self.map_size](self.prediction, size)


@dataclass(frozen=True)
class LabelledFrame:
    """Labelled frame of a video, of a network that runs on every frame.

    Attributes:
        semantic_map: (B, H, W) int64 at the size of the frame.
        seconds: wall-clock time of the frame's networks, fusion and label map; unless these were waited for, of queueing them.
        checks: checks of this frame, and of others that it depends on, whose verdicts were not waited for.
    """

    semantic_map: Tensor
    seconds: float
    checks: tuple[FiniteCheck, ...] = field(default=(), kw_only=True)

    @property
    def is_key(self) -> bool:
        """True for a frame that the segmentor runs on."""
        return True

    @property
    def offsets(self) -> tuple[int, ...]:
        """Signed distance in frames to the key frame of each source."""
        return (0,)

    @property
    def age(self) -> int | None:
        """Frames since the key frame; ``None`` without key frames."""
        return None

    @property
    def reason(self) -> KeyReason | None:
        """Reason for a key frame that a scheduler selected."""
        return None

    def motion(self, with_flow: bool) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return what the flow of a non-key frame shows.

        Returns:
            Requested flow (2, h, w) to the key frame before and disoccluded probability (h, w), of the image that the network
            received, and the mean of the latter; ``None`` where there is none.
        """
        return None, None, None

    @property
    def masks(self) -> MaskPrediction | None:
        """Masks and classes of the frame."""
        return None

    def confidence(self) -> Tensor | None:
        """Return the confidence (H, W) of the label map of the first image."""
        return None


@dataclass(frozen=True)
class PropagatedFrame(LabelledFrame):
    """Labelled frame of a video whose masks are propagated from key frames.

    Attributes:
        result: prediction before post-processing, flow and state.
    """

    result: StepResult

    @property
    def is_key(self) -> bool:
        """True for a key frame."""
        return self.result.is_key

    @property
    def offsets(self) -> tuple[int, ...]:
        """See :class:`StepResult`."""
        return self.result.offsets

    @property
    def age(self) -> int:
        """Frames since the key frame."""
        return self.result.state.age

    @property
    def reason(self) -> KeyReason | None:
        """Reason for a key frame."""
        return self.result.state.reason if self.is_key else None

    def motion(self, with_flow: bool) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """See :class:`LabelledFrame`."""
        prediction, found = self.result.prediction, self.result.flow
        if found is None:
            return None, None, None
        mask = disoccluded(found, prediction.image_size)
        share = None if mask is None else mask.mean()
        if not with_flow:
            return None, None, share
        before = sum(offset < 0 for offset in self.offsets)
        fused = prediction.shares is not None
        flow = winning_flow(prediction, found, before - 1 if fused else 0)[0]
        return flow, None if mask is None else mask[0], share

    @property
    def masks(self) -> MaskPrediction:
        """Masks and classes of the frame."""
        return self.result.prediction

    def confidence(self) -> Tensor:
        """See :class:`LabelledFrame`."""
        return semantic_confidence(self.masks, self.semantic_map)[0]


class LabelStream(Protocol):
    """Stream of label maps, as predictions of videos and evaluations run it."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def device(self) -> torch.device:
        """Device of the networks."""

    @property
    def delays(self) -> bool:
        """True where results are late, and frames wait for them."""

    def expect(self, frames: int | None) -> None:
        """Receive the number of frames to come, where it is known; ``None``: unknown."""

    def label_frames(self, frames: Iterable[Tensor], wait: bool = True) -> Iterator[LabelledFrame]:
        """Label the frames (1, 3, H, W) of one video, in order, in constant memory.

        Without ``wait``, frames on CUDA are yielded once their work is queued, and the caller runs their ``checks``.
        """
