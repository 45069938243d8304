"""Checks of a stream: predictions are finite, since NaN would read as one class everywhere, and states fit their network."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.models.segmentors.base import KeyFrameSegmentor
from src.ops.device import synchronize
from src.structures import KeyFrameState


class FiniteCheck:
    """Check of the rows of predictions, whose verdict a caller may read later.

    One sum for each tensor, without copies: 0.2 ms for the 100 masks of a frame of 480x853, on one CPU core.

    Args:
        tensors: (B, ...) by name; ``None`` and tensors without data are skipped.
        frames: number of the frame of each row, or one for all; ``None``: the caller names the frame.

    Attributes:
        passed: () bool, on the device of the tensors; False: a value may be NaN or infinite.
    """

    def __init__(self, tensors: Mapping[str, Tensor | None], frames: Sequence[int] | None = None) -> None:
        self._present = {name: value for name, value in tensors.items() if value is not None and not value.is_meta}
        self._frames = frames
        sums = [value.flatten(1).sum(1, dtype=torch.float32) for value in self._present.values()]
        self.passed = torch.isfinite(torch.stack(sums)).all() if sums else torch.ones((), dtype=torch.bool)

    def enforce(self, passed: Tensor | None = None) -> None:
        """Raise ``ValueError`` if a value is NaN or infinite; the message names the first such frame.

        Args:
            passed: copy of the attribute on the host; ``None``: read it, and wait for it.
        """
        if bool(self.passed if passed is None else passed):
            return
        for row in range(max(map(len, self._present.values()))):
            named = "" if self._frames is None else f"frame {self._frames[row if len(self._frames) > 1 else 0]}: "
            for name, value in self._present.items():
                # Finite values may have an infinite sum.
                if share := float((~torch.isfinite(value[row])).float().mean()):
                    raise ValueError(
                        f"{named}{share:.1%} of its {name} are NaN or infinite; expected numbers; the weights may be "
                        "damaged, or too large for float16: use bfloat16 or float32"
                    )


def enforce(checks: Sequence[FiniteCheck], device: torch.device | None = None) -> tuple[FiniteCheck, ...]:
    """Wait for a device, if one is given, enforce checks, and return what is left of them: nothing."""
    if device is not None:
        synchronize(device)
    for check in checks:
        check.enforce()
    return ()


def check_finite(tensors: Mapping[str, Tensor | None], frames: Sequence[int] | None = None) -> None:
    """Check the rows of predictions at once; arguments and errors are those of :class:`FiniteCheck`."""
    FiniteCheck(tensors, frames).enforce()


def check_size(image: Tensor, state: KeyFrameState) -> None:
    """Check that the next frame of a stream, (B, 3, H, W) at network size, is as large as the frames before.

    Raises:
        ValueError: if size or number of streams differ.
    """
    frame, key = state.index + 1, state.key_index
    if image.shape != state.image.shape:
        raise ValueError(
            f"frame {frame} is {tuple(image.shape)} at network size; expected {tuple(state.image.shape)} as of its "
            f"key frame {key}, since a stream has one size; start a new stream"
        )


def check_state(image: Tensor, state: KeyFrameState, segmentor: KeyFrameSegmentor) -> None:
    """Check that a state can carry its masks to ``image`` (B, 3, H, W), an image at network size.

    Raises:
        ValueError: if sizes, numbers of streams or devices differ, or the state is of another network.
    """
    check_size(image, state)
    frame, prediction = state.index + 1, state.prediction
    queries = prediction.class_logits.shape[1]
    if segmentor.splits_images and queries % segmentor.num_queries == 0:
        # Those of every window.
        queries = segmentor.num_queries
    found = (len(prediction.queries), queries, prediction.class_logits.shape[2], prediction.queries.shape[-1])
    expected = (len(image), segmentor.num_queries, segmentor.num_classes + 1, segmentor.query_dim)
    if found != expected or state.image.device != image.device:
        raise ValueError(
            f"frame {frame}: the state has (streams, queries, classes + 1, query width) {found} on {state.image.device}; "
            f"expected {expected} on {image.device}, as a state belongs to the network that returned it; start a new stream"
        )
