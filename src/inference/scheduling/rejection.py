"""When a finished propagation is thrown away."""

from __future__ import annotations

from dataclasses import dataclass, fields

from src.inference.scheduling.change import ChangeState
from src.inference.scheduling.signals import class_mass_change, inconsistency, mask_entropy, mean_doubt, warp_error
from src.structures import FlowPrediction, MaskPrediction


@dataclass(frozen=True)
class Distrust:
    """Limits on what a propagation may look like; ``None`` is no limit, and its signal is not computed.

    A propagation beyond a limit is thrown away and its frame segmented, so that the frame costs both.

    Args:
        warp_error: grey levels between the frame and the warped key frame (:func:`src.inference.scheduling.signals.warp_error`).
        inconsistency: share of the picture whose motion does not return, 0..1.
        entropy: of the masks, bits above the key frame's own.
        class_mass: share of the picture that changed its class, 0..1.
        doubt: share of the picture that the flow estimator takes for not visible in the key frame, 0..1
            (``FlowPrediction.confidence``); nothing where the estimator does not say.

    Raises:
        ValueError: if a limit is not positive.
    """

    warp_error: float | None = None
    inconsistency: float | None = None
    entropy: float | None = None
    class_mass: float | None = None
    doubt: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{field.name} is {limit}, expected a positive limit or None")

    def exceeded(self, watched: ChangeState, key: MaskPrediction, prediction: MaskPrediction, flow: FlowPrediction) -> bool:
        """Whether a propagation is beyond a limit.

        Args:
            watched: the frame's thumbnail and its key frame's.
            key: the segmentor's prediction on the key frame.
            prediction: the propagated one.
            flow: the motion.
        """
        shown, key_shown = watched.thumbnail, watched.key_thumbnail
        if self.warp_error is not None and warp_error(key_shown, shown, prediction, flow) > self.warp_error:
            return True
        if self.inconsistency is not None and inconsistency(key_shown, shown) > self.inconsistency:
            return True
        if self.entropy is not None and mask_entropy(prediction) - mask_entropy(key) > self.entropy:
            return True
        if self.doubt is not None and mean_doubt(prediction, flow) > self.doubt:
            return True
        return self.class_mass is not None and class_mass_change(key, prediction) > self.class_mass
