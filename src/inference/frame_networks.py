"""Networks of a stream at its input size and precision."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from src.inference.frame_input import FrameInput, image_batch
from src.inference.runtime.frames import Propagated, RuntimeName, Runtimes, Segmented
from src.inference.runtime.transfers import is_queued, run_beside, upload
from src.inference.step_result import StepResult
from src.inference.stream_checks import FiniteCheck, check_state
from src.models.propagator import Propagator
from src.ops.masks import SEMANTIC_MAPS, MapSize
from src.ops.resize import resize_antialiased, short_side_size
from src.structures import KeyFrameState, MaskPrediction

DecisionT = TypeVar("DecisionT")
Compile = bool | Literal["backbone"]
"""Networks to run through ``torch.compile``: both, none, or the segmentor's backbone."""


class FrameNetworks:
    """Segmentation and propagation of single frames; holds no stream state.

    Args:
        propagator: network; switched to eval mode here.
        short_side: shorter side of the network's input images, pixels; ``None`` keeps their size.
        max_long_side: maximum longer side, pixels; without ``short_side`` it only shrinks.
        autocast: precision of the networks (``torch.bfloat16``); warp and post-processing stay float32. ``None`` keeps the
            surrounding autocast state.
        compile: networks to run through ``torch.compile``: both (``True``), the segmentor's ``"backbone"``, or none. The first
            frames, and the first of each new image size, then take up to minutes. Gains: ``docs/performance.md``.
        map_size: ``image``, or ``mask`` for the approximation of :func:`src.ops.masks.semantic_map_at_mask_size`.
        runtime: ``auto``, ``eager``, ``graph``, ``onnx`` or ``openvino`` (``docs/runtimes.md``), or shared :class:`Runtimes`.

    Raises:
        ModuleNotFoundError: if ``runtime`` is ``onnx`` or ``openvino``, which is not installed.
        ValueError: if a side is not positive, ``compile``, ``map_size`` or ``runtime`` is unknown, the backbone cannot be
            compiled, or the runtime does not fit the device or ``compile``.
    """

    def __init__(
        self,
        propagator: Propagator,
        short_side: int | None = None,
        max_long_side: int | None = None,
        autocast: torch.dtype | None = None,
        compile: Compile = False,
        map_size: MapSize = "image",
        runtime: RuntimeName | Runtimes = "eager",
    ) -> None:
        for name, side in (("short_side", short_side), ("max_long_side", max_long_side)):
            if side is not None and side < 1:
                raise ValueError(f"{name} is {side}; expected a positive number of pixels or None")
        if map_size not in SEMANTIC_MAPS:
            raise ValueError(f"map_size is {map_size!r}; expected {' or '.join(SEMANTIC_MAPS)}")
        self.propagator = propagator.eval()
        self.short_side = short_side
        self.max_long_side = max_long_side
        self.autocast = autocast
        self.map_size: MapSize = map_size
        self._segment: Callable[..., MaskPrediction] = self.propagator.segmentor
        self._propagate = self.propagator.propagate
        self._compile(compile)
        runtimes = runtime if isinstance(runtime, Runtimes) else Runtimes(runtime)
        if compile is not False and runtimes.name not in ("auto", "eager"):
            raise ValueError(f"compile is {compile} and runtime {runtimes.name!r}; expected one of them; use compile=false")
        segmentor, flow = propagator.segmentor, propagator.flow
        if segmentor.splits_images and flow.reads_queries:
            raise ValueError(
                f"split_images is set with a {type(flow).__name__}; expected one flow for all segments; use flow=dis"
            )
        is_eager = propagator.recurrent or segmentor.splits_images
        if is_eager and runtimes.name not in ("auto", "eager"):
            reason = "frames that depend on the one before" if propagator.recurrent else "split_images"
            raise ValueError(f"runtime is {runtimes.name!r}; expected eager for {reason}")
        self._unread: list[FiniteCheck] | None = None
        self.runtime = (runtimes if compile is False and not is_eager else Runtimes()).of(self.propagator, autocast)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.propagator.segmentor.num_classes

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.propagator.parameters()).device

    def queueing(self) -> Self:
        """Return these networks for one video; on CUDA, nothing waits for their checks, which :meth:`take_checks` returns."""
        other = copy.copy(self)
        other._unread = [] if is_queued(self.device) else None
        return other

    def take_checks(self) -> tuple[FiniteCheck, ...]:
        """Return the checks since the last call whose verdicts were not waited for; elsewhere than on CUDA there are none."""
        taken = tuple(self._unread or ())
        if self._unread:
            self._unread.clear()
        return taken

    def expect(self, frames: int | None) -> None:
        """Choose the runtime for a number of frames to come; ``None``: unknown."""
        self.runtime.expect(frames)

    @torch.inference_mode()
    def segment_resized(
        self, image: Tensor, frames: Sequence[int], memory: Tensor | None = None
    ) -> tuple[MaskPrediction, KeyFrameState]:
        """Segment results of :meth:`resize`.

        Args:
            image: (B, 3, H, W).
            frames: number of the frame, one for all streams or B of them; the first is that of the state.
            memory: (B, Q, C) from which a recurrent segmentor starts; ``None`` for others, and for the first frame.
        """
        self._check_mode()

        def eager() -> Segmented:
            with self._precision(image):
                prediction = self._segment(image) if memory is None else self._segment(image, memory)
                return prediction.final_layer(), self.propagator.flow.encode_key(image)

        prediction, features = self.runtime.segment(image, eager)
        self._check_finite({"class logits": prediction.class_logits, "mask logits": prediction.mask_logits}, frames)
        return prediction, KeyFrameState(image, prediction, frames[0], age=0, flow_features=features)

    @torch.inference_mode()
    def propagate_resized(self, image: Tensor, key: KeyFrameState, frames: Sequence[int]) -> StepResult:
        """Propagate to results of :meth:`resize`; arguments are those of :meth:`segment_resized`."""
        check_state(image, key, self.propagator.segmentor)
        self._check_mode()

        def eager() -> Propagated:
            with self._precision(image):
                return self._propagate(key.prediction, key.image, image, key.flow_features)

        prediction, flow = self.runtime.propagate(image, key, eager)
        found = {"flow": flow.segment_flow, "flow confidence": flow.confidence, "disocclusion logits": flow.disocclusion_logits}
        self._check_finite({**found, "mask logits": prediction.mask_logits}, frames)
        state = replace(key, index=key.index + 1, age=key.age + 1, reason=None)
        return StepResult(prediction, flow, state, self.map_size, (-state.age,))

    def prepare(self, image: FrameInput, decide: Callable[[Tensor], DecisionT]) -> tuple[Tensor, DecisionT]:
        """Return :meth:`resize` of an image, and a decision about it that on CUDA does not wait for earlier frames."""

        def prepared() -> tuple[Tensor, DecisionT]:
            resized = self.resize(image)
            return resized, decide(resized)

        return run_beside(self.device, not isinstance(image, Tensor) or image.device.type == "cpu", prepared)

    def resize(self, image: FrameInput) -> Tensor:
        """Return an image (B, 3, H, W) on the network's device and at its input size.

        The resize is bilinear and antialiased; uint8 stays uint8, as in Pillow.

        Raises:
            ValueError: if the image is none of :meth:`step`.
        """
        image = upload(image_batch(image), self.device)
        size = short_side_size((image.shape[-2], image.shape[-1]), self.short_side, self.max_long_side)
        if size == tuple(image.shape[-2:]):
            return image
        return resize_antialiased(image, size)

    def _compile(self, what: Compile) -> None:
        if what is True:
            self._segment = torch.compile(self.propagator.segmentor)
            # A flow without training (copy, DIS) has nothing to compile.
            if not self.propagator.flow.training_free:
                self._propagate = torch.compile(self.propagator.propagate)
        elif what == "backbone":
            backbone = self.propagator.segmentor.parts()["backbone"]
            if isinstance(backbone, nn.ModuleList):
                name = type(self.propagator.segmentor).__name__
                raise ValueError(f"compile is 'backbone', but the backbone of a {name} is no separate network; use true or false")
            # In place, so that parameter names stay.
            backbone.compile()
        elif what is not False:
            raise ValueError(f"compile is {what!r}; expected true, false or backbone")

    def _check_finite(self, tensors: Mapping[str, Tensor | None], frames: Sequence[int]) -> None:
        check = FiniteCheck(tensors, frames)
        if self._unread is None:
            check.enforce()
        else:
            self._unread.append(check)

    def _check_mode(self) -> None:
        if self.propagator.training:
            raise RuntimeError("the propagator is in train mode; expected eval mode; call .eval() on it before streaming")

    def _precision(self, image: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(image.device.type, dtype=self.autocast)
