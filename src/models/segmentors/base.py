"""What every segmentor has in common: an image in, one mask, one class distribution and one embedding per query out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from src.models.drop_path import SampleDropPath
from src.models.freezing import PartlyFrozen
from src.models.segmentors.backbones import Statistics
from src.ops.padding import pad_to, padded_size
from src.structures import MaskPrediction, Size


class SegmentorConfig(NamedTuple):
    """A plain config taken apart.

    Attributes:
        num_classes: K.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.
        fields: all else, by name.
    """

    num_classes: int
    image_mean: Statistics
    image_std: Statistics
    fields: dict[str, Any]


class KeyFrameSegmentor(PartlyFrozen):
    """A query segmentor as transformers implements it, behind our names; one subclass per architecture.

    The network's own loss (``criterion``) is dropped: ours is in ``src.losses``, and its tensors would be in every state dict.
    Laws: ``parts()["class_head"](queries)`` gives the final layer's class logits, and :meth:`parts` has at least ``backbone``,
    ``pixel_decoder``, ``mask_head`` and ``class_head``.

    Args:
        network: transformers' model.
        num_classes: K, without "no object".
        num_queries: Q.
        query_dim: C, the width of the queries.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.
    """

    model_type: ClassVar[str]
    """transformers' name of the architecture."""
    size_divisor: int = 32
    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        num_queries: int,
        query_dim: int,
        image_mean: Statistics,
        image_std: Statistics,
    ) -> None:
        super().__init__()
        del network.criterion
        SampleDropPath.install(network)
        self.network: Any = network
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.query_dim = query_dim
        # Part of the configuration, so not of the state dict.
        self.register_buffer("image_mean", torch.tensor(image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(image_std).view(3, 1, 1), persistent=False)
        # A loaded network arrives in eval mode, and Lightning would keep it there.
        self.train()

    @abstractmethod
    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image.

        Args:
            image: (B, 3, H, W), RGB 0..255, any dtype; padded here to multiples of ``size_divisor``.

        Returns:
            The prediction, float32 also under autocast. The layers before the last are those that deep supervision trains; a
            network that does not need them for its last one leaves them out where nothing in it trains (L = 1).

        Raises:
            ValueError: if the image is too small.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything but the weights: a JSON-able dict that :meth:`from_config` rebuilds the network from."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network with random weights. Nothing that the dict names is fetched or executed.

        Args:
            config: what :meth:`config` gave.

        Raises:
            ValueError: if a field is missing, unknown or of the wrong kind, or the architecture is not a known one.
        """

    @classmethod
    @abstractmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """A network that transformers saved, in a local folder or on the hub.

        Args:
            path_or_id: a folder, or an id of the hub.
            num_classes: K; where it differs from the checkpoint's, the class head starts anew.

        Raises:
            ValueError: if it is another architecture, or its weights are incomplete.
            OSError: if it cannot be reached.
        """

    def normalised(self, image: Num[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B 3 _ _"], Size]:
        """The image as the network takes it.

        Args:
            image: (B, 3, H, W), RGB 0..255.

        Returns:
            (B, 3, Hp, Wp), normalised and then padded with zeros at the right and bottom; and the image's own (H, W).

        Raises:
            ValueError: if the image fits into one cell of the coarsest features: a single pixel has nothing to be normalised by.
        """
        size = (image.shape[-2], image.shape[-1])
        padded = padded_size(size, self.size_divisor)
        if max(padded) <= self.size_divisor:
            raise ValueError(f"image of {size[0]}x{size[1]}: expected a side of more than {self.size_divisor} pixels")
        scaled = (image.to(self.image_mean.dtype) / 255 - self.image_mean) / self.image_std
        return pad_to(scaled, padded), size

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """The norm at the end of transformers' Swin, which only its classifier reads: the backbone has one norm per stage."""
        backbone: Any = self.parts()["backbone"]
        if "Swin" not in type(backbone).__name__:
            return ()
        # MaskFormer has a Swin of its own, with another name inside.
        swin = backbone.swin if hasattr(backbone, "swin") else backbone.model
        return cast(Iterable[nn.Parameter], swin.layernorm.parameters())

    def learning(self) -> bool:
        """Whether any part is in train mode, so that the layers before the last are worth their cost."""
        return any(module.training for module in self.network.modules())

    def plain_config(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What all configs begin with, and the ``fields`` of one architecture."""
        return {
            "model_type": self.model_type,
            "num_classes": self.num_classes,
            "image_mean": [round(value, 6) for value in self.image_mean.flatten().tolist()],
            "image_std": [round(value, 6) for value in self.image_std.flatten().tolist()],
            **fields,
        }

    @classmethod
    def take_apart(cls, config: Mapping[str, Any], names: Collection[str]) -> SegmentorConfig:
        """The reverse of :meth:`plain_config`.

        Args:
            config: from a file.
            names: of the fields of this architecture; all of them must be there.

        Raises:
            ValueError: if the architecture is another one, or a field is missing, unknown or of the wrong kind.
        """
        fields = dict(config)
        if fields.pop("model_type", None) != cls.model_type:
            raise ValueError(f"model_type is {config.get('model_type')!r}; expected {cls.model_type!r}")
        expected = {"num_classes", "image_mean", "image_std", *names}
        if set(fields) != expected:
            raise ValueError(f"config of a segmentor: {', '.join(sorted(set(fields) ^ expected))} missing or not known")
        if not isinstance(fields["num_classes"], int):
            raise ValueError(f"num_classes is {fields['num_classes']!r}; expected a whole number")
        mean, std = (image_statistics(fields.pop(name), name) for name in ("image_mean", "image_std"))
        return SegmentorConfig(fields.pop("num_classes"), mean, std, fields)


def image_statistics(values: Sequence[float], name: str) -> Statistics:
    """Three numbers, one per channel.

    Raises:
        ValueError: if there are more or fewer.
    """
    if len(values) != 3:
        raise ValueError(f"{name} has {len(values)} numbers; expected one for each of red, green and blue")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def in_full_precision(tensor: Tensor) -> Tensor:
    """The tensor, as float32 under autocast.

    transformers makes positions in the dtype of the features, and half precision cannot name a pixel of a wide image.
    """
    kind = tensor.device.type
    return tensor.float() if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) else tensor


def keep_projections_precise(pixel_decoder: Any) -> None:
    """Have a deformable pixel decoder project in full precision: it makes its sampling points in the dtype of what comes out."""
    for projection in pixel_decoder.input_projections:
        projection.register_forward_hook(_precise_output)


def _precise_output(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return in_full_precision(output)
