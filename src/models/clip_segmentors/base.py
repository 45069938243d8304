"""Interface of the clip segmentors: networks that label a frame from its own features and those of earlier frames."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar, get_args

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from src.models.config_limits import check_limits
from src.models.freezing import PartlyFrozen
from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD
from src.ops.padding import padded_size
from src.ops.resize import short_side_size
from src.structures import Size

Target = TypeVar("Target", bound=tuple[Tensor, ...])
"""Tensors (B, ...) of an encoded frame; a ``NamedTuple`` of the architecture."""
Reference = TypeVar("Reference", bound=tuple[Tensor, ...])
"""Tensors (B, ...) of an encoded frame that the frames after it read; a ``NamedTuple`` of the architecture."""
FirstFrames = Literal["official", "alone"]
"""Frames before the first complete set of references: those of the published code, or each of them by itself."""


class ClipTrainingOutputs(NamedTuple):
    """Logits (B, T, K, h, w) in training; T frames, the references in time order and then the target.

    Attributes:
        frame_logits: prediction of each frame by itself, for its own label.
        clip_logits: T predictions of the target from the clip, for the target's label; the last one is that of :meth:`predict`.
    """

    frame_logits: Float[Tensor, "B T K h w"]
    clip_logits: Float[Tensor, "B T K h w"]


class ClipSegmentor(PartlyFrozen, Generic[Target, Reference]):
    """Segmentor of frames with references; one subclass per architecture.

    Every frame is encoded once (:meth:`encode`). A stream keeps :meth:`as_reference` of the frames that later ones refer to.
    Laws: a batch of clips equals its clips one by one; in eval mode the last of ``training_outputs(...).clip_logits`` equals
    ``predict`` on the encoded frames, and the last of its ``frame_logits`` equals ``predict_alone``.

    Args:
        num_classes: K.

    Attributes:
        reference_offsets: places of the references relative to the target, in frames, ascending.
    """

    model_type: ClassVar[str]
    """Name of the architecture in model folders."""
    size_divisor: ClassVar[int] = 32
    reference_offsets: ClassVar[tuple[int, ...]]
    published_sides: ClassVar[tuple[int | None, int | None]] = (None, None)
    """Shorter side and maximum longer side of the published test, pixels; ``None``: no limit."""
    image_mean: Tensor
    image_std: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @abstractmethod
    def encode(self, image: Num[Tensor, "B 3 H W"]) -> Target:
        """Encode frames, RGB 0..255 of any dtype, by themselves.

        Raises:
            ValueError: if H or W is no multiple of ``size_divisor``, or the frame is too small.
        """

    @abstractmethod
    def as_reference(self, features: Target) -> Reference:
        """Return what later frames need of an encoded frame; the least that a stream has to keep."""

    @abstractmethod
    def predict(self, target: Target, references: Sequence[Reference]) -> Float[Tensor, "B K h w"]:
        """Predict class logits of an encoded frame, float32.

        Args:
            target: result of :meth:`encode`.
            references: results of :meth:`as_reference` in time order, one for each of ``reference_offsets``.
        """

    @abstractmethod
    def predict_alone(self, target: Target) -> Float[Tensor, "B K h w"]:
        """Predict class logits of an encoded frame without references, float32."""

    @abstractmethod
    def training_outputs(self, frames: Num[Tensor, "B T 3 H W"]) -> ClipTrainingOutputs:
        """Run clips of T = ``len(reference_offsets) + 1`` frames, RGB 0..255, first the references in time order."""

    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """Return ``backbone`` and ``head``: disjoint, and together complete."""

    def training_only_parameters(self) -> Iterable[nn.Parameter]:
        """Return parameters that :meth:`predict` and :meth:`predict_alone` do not read."""
        return ()

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return ``model_type`` and the constructor's arguments, JSON-able; everything but the weights."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a segmentor with random weights from :meth:`config`; a value out of its limits is a ``ValueError``."""
        arguments = dict(config)
        if arguments.pop("model_type", None) != cls.model_type:
            raise ValueError(f"model_type is {config.get('model_type')!r}; expected {cls.model_type!r}")
        check_limits(arguments)
        return cls(**arguments)

    def forward(self, frames: Num[Tensor, "B T 3 H W"]) -> ClipTrainingOutputs:
        """Return :meth:`training_outputs`, so that wrappers of a module (DDP, compile) work."""
        return self.training_outputs(frames)

    def reference_frames(self, index: int, first_frames: FirstFrames = "official") -> tuple[int, ...]:
        """Return the numbers of the frames that frame ``index`` of a video refers to, in time order.

        Args:
            index: number of the frame, from 0.
            first_frames: rule for frames with fewer than ``-reference_offsets[0]`` frames before them.

        Returns:
            As many as ``reference_offsets``; empty for a frame that is predicted by itself.
        """
        if first_frames not in get_args(FirstFrames):
            raise ValueError(f"first_frames is {first_frames!r}; expected one of {', '.join(get_args(FirstFrames))}")
        if index + self.reference_offsets[0] >= 0:
            return tuple(index + offset for offset in self.reference_offsets)
        return self.first_references(index) if first_frames == "official" else ()

    def first_references(self, index: int) -> tuple[int, ...]:
        """Return the published references of a frame near the start of a video; by default none."""
        return ()

    def network_size(self, size: Size) -> Size:
        """Return the network's input size for a frame (H, W) in the published test: multiples of the divisor are unchanged."""
        if padded_size(size, self.size_divisor) == size:
            return size
        return padded_size(short_side_size(size, *self.published_sides), self.size_divisor)

    def normalize(self, image: Num[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Normalize frames, RGB 0..255; a size that is no multiple of ``size_divisor`` is a ``ValueError``."""
        size = (image.shape[-2], image.shape[-1])
        if padded_size(size, self.size_divisor) != size:
            raise ValueError(
                f"frame of {size[0]}x{size[1]}: expected multiples of {self.size_divisor}; stretch it to network_size"
            )
        return (image.to(self.image_mean.dtype) / 255 - self.image_mean) / self.image_std
