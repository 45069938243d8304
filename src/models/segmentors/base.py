"""Interface and shared parts of the key-frame segmentors."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from src.models.config_limits import check_limits
from src.models.drop_path import SampleDropPath
from src.models.freezing import PartlyFrozen
from src.models.segmentors.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Statistics,
    backbone_config,
    backbone_fields,
    checked_config,
    without_swin_warning,
)
from src.models.segmentors.pretrained import image_statistics, load_network
from src.ops.padding import pad_to, padded_size
from src.structures import MaskPrediction, Size


class LayerPredictions(NamedTuple):
    """Class and mask logits of each layer of a transformer decoder; ``queries`` are the class head's input in the last layer."""

    class_logits: list[Float[Tensor, "B Q _"]]
    mask_logits: list[Float[Tensor, "B Q h w"]]
    queries: Float[Tensor, "B Q C"]


class KeyFrameSegmentor(PartlyFrozen):
    """Query segmentor around a network of transformers; one subclass per architecture.

    The network's own loss (``criterion``) is deleted: the project's is in ``src.losses``, and its tensors would be in every state
    dict. Laws: ``parts()["class_head"](queries)`` equals the final layer's class logits, and :meth:`parts` has at least
    ``backbone``, ``pixel_decoder``, ``mask_head`` and ``class_head``.

    Args:
        network: model built by transformers.
        image_mean: mean of each channel, for pixels in 0..1; ``image_std`` is its standard deviation.

    Attributes:
        num_classes: K, without "no object"; ``num_queries`` is Q and ``query_dim`` C, their width.
        trains_memory: whether training runs frames from the memory of others, so that a recurrent segmentor's update learns.
    """

    network_class: ClassVar[type[PreTrainedModel]]
    model_type: ClassVar[str]
    """transformers' name of the architecture."""
    field_names: ClassVar[tuple[str, ...]]
    """Fields of transformers' configuration that determine the architecture."""
    option_names: ClassVar[tuple[str, ...]] = ()
    """Further constructor arguments; attributes of the same names hold their values, JSON-able."""
    class_head_name: ClassVar[str] = "class_predictor."
    """Prefix of the class head's tensors in transformers' state dict."""
    is_recurrent: ClassVar[bool] = False
    """Whether calls take the ``memory`` of the prediction of the frame before."""
    splits_images: bool = False
    size_divisor: int = 32
    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self, network: PreTrainedModel, image_mean: Statistics = IMAGENET_MEAN, image_std: Statistics = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.adapt(network)
        del network.criterion
        SampleDropPath.install(network)
        self.network: Any = network
        class_head = cast(nn.Linear, self.parts()["class_head"])
        self.trains_memory = False
        self.num_classes = class_head.out_features - 1
        # MaskFormer's decoder has a configuration of its own.
        self.num_queries: int = getattr(network.config, "decoder_config", network.config).num_queries
        self.query_dim = class_head.in_features
        # Part of the configuration, so not of the state dict.
        self.register_buffer("image_mean", torch.tensor(image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(image_std).view(3, 1, 1), persistent=False)
        # A loaded network arrives in eval mode, and Lightning would keep it there.
        self.train()

    @classmethod
    def adapt(cls, network: PreTrainedModel) -> None:
        """Replace modules of transformers' network, under the same parameter names; by default none."""

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an unpadded image, RGB 0..255 of any dtype.

        The prediction is float32, also under autocast. L is that of the class docstring; h, w = 1/4 of the padded image.
        """
        padded, size = self.preprocess(image)
        return self.as_prediction(self.predict_layers(padded), padded, size)

    @staticmethod
    def as_prediction(layers: LayerPredictions, padded: Float[Tensor, "B 3 H W"], size: Size) -> MaskPrediction:
        """Return the layers as a float32 prediction of an image of ``size`` (H, W), padded to ``padded``."""
        return MaskPrediction(
            class_logits_per_layer=torch.stack([logits.float() for logits in layers.class_logits]),
            mask_logits_per_layer=torch.stack([logits.float() for logits in layers.mask_logits]),
            queries=layers.queries.float(),
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )

    @abstractmethod
    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Run the network on normalized and padded images.

        Layers before the last serve deep supervision. A network that can skip them does so unless :meth:`trains_any_part`.
        """

    def preprocess(self, image: Num[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B 3 _ _"], Size]:
        """Normalize an image (RGB 0..255), then pad it with zeros at the right and bottom to multiples of ``size_divisor``.

        Returns:
            The padded image, and (H, W) of the unpadded one.

        Raises:
            ValueError: if the coarsest features would be a single pixel, which batch normalization cannot train on.
        """
        size = (image.shape[-2], image.shape[-1])
        padded = padded_size(size, self.size_divisor)
        if max(padded) <= self.size_divisor:
            raise ValueError(f"image of {size[0]}x{size[1]}: expected a side of more than {self.size_divisor} pixels")
        scaled = (image.to(self.image_mean.dtype) / 255 - self.image_mean) / self.image_std
        return pad_to(scaled, padded), size

    def unused_parameters(self) -> Iterable[nn.Parameter]:
        """Return the final norm of transformers' Swin: its classifier reads it, while the backbone has one norm per stage."""
        backbone: Any = self.parts()["backbone"]
        if "Swin" not in type(backbone).__name__:
            return ()
        # MaskFormer's own Swin has another name for it.
        swin = backbone.swin if hasattr(backbone, "swin") else backbone.model
        return cast(Iterable[nn.Parameter], swin.layernorm.parameters())

    def trains_any_part(self) -> bool:
        """Return whether any part is in train mode, so that deep supervision needs all layers."""
        return any(module.training for module in self.network.modules())

    @classmethod
    def network_fields(cls, config: PreTrainedConfig) -> dict[str, Any]:
        """Return the ``field_names`` of transformers' configuration, JSON-able.

        Raises:
            ValueError: if the project does not support the configuration.
        """
        values = config.to_dict()
        if "backbone_config" in cls.field_names:
            values["backbone_config"] = backbone_fields(cast(PreTrainedConfig, config.backbone_config))
        return {name: values[name] for name in cls.field_names}

    @classmethod
    def network_config(cls, fields: Mapping[str, Any], num_classes: int) -> PreTrainedConfig:
        """Build transformers' configuration from :meth:`network_fields`. Nothing is fetched or executed."""
        check_limits({**fields, "num_classes": num_classes})
        config_class = cast(type[PreTrainedConfig], cls.network_class.config_class)
        values = {**fields, "num_labels": num_classes}
        if "backbone_config" in values:
            values["backbone_config"] = backbone_config(values["backbone_config"])
        with without_swin_warning():
            return checked_config(config_class, values)

    def config(self) -> dict[str, Any]:
        """Return everything but the weights: a JSON-able dict for :meth:`from_config`."""
        return {
            "model_type": self.model_type,
            "num_classes": self.num_classes,
            "image_mean": [round(value, 6) for value in self.image_mean.flatten().tolist()],
            "image_std": [round(value, 6) for value in self.image_std.flatten().tolist()],
            **{name: getattr(self, name) for name in self.option_names},
            **self.network_fields(self.network.config),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a segmentor with random weights. Nothing that the config names is fetched or executed.

        Args:
            config: dict of :meth:`config`, possibly read from a file.

        Raises:
            ValueError: if the architecture is another one, or a field is missing, unknown or of the wrong type.
        """
        fields = dict(config)
        if fields.pop("model_type", None) != cls.model_type:
            raise ValueError(f"model_type is {config.get('model_type')!r}; expected {cls.model_type!r}")
        expected = {"num_classes", "image_mean", "image_std", *cls.option_names, *cls.field_names}
        if set(fields) != expected:
            raise ValueError(f"config of a {cls.model_type}: {', '.join(sorted(set(fields) ^ expected))} missing or unknown")
        num_classes = fields.pop("num_classes")
        if not isinstance(num_classes, int):
            raise ValueError(f"num_classes is {num_classes!r}; expected a whole number")
        statistics = {name: image_statistics(fields.pop(name), name) for name in ("image_mean", "image_std")}
        options = {name: fields.pop(name) for name in cls.option_names}
        network_config = cls.network_config(fields, num_classes)
        with without_swin_warning():
            network = cls.network_class(network_config)
        return cls(network, **statistics, **options)

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """Load a segmentor saved by transformers.

        Args:
            path_or_id: local folder, or id of the Hugging Face hub such as ``facebook/mask2former-swin-tiny-ade-semantic``.
            num_classes: K; where it differs from the checkpoint's, the class head is re-initialized.

        Raises:
            ValueError: if the architecture is another one, or weights are missing.
            OSError: if it cannot be read.
        """

        def rebuild(saved: PreTrainedConfig, classes: int) -> PreTrainedConfig:
            return cls.network_config(cls.network_fields(saved), classes)

        network, mean, std = load_network(path_or_id, cls.network_class, rebuild, cls.class_head_name, num_classes)
        return cls(network, image_mean=mean, image_std=std, **cls.saved_options(network))

    @classmethod
    def saved_options(cls, network: PreTrainedModel) -> dict[str, Any]:
        """Return the options that transformers saved with a network."""
        return {}


def float32_under_autocast(tensor: Tensor) -> Tensor:
    """Return the tensor, as float32 under autocast.

    transformers computes positions in the dtype of the features, and half precision cannot represent every pixel of a wide image.
    """
    kind = tensor.device.type
    return tensor.float() if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) else tensor


def project_in_float32(pixel_decoder: Any) -> None:
    """Convert the projections of a deformable pixel decoder to float32: their dtype becomes that of its sampling points."""
    for projection in pixel_decoder.input_projections:
        projection.register_forward_hook(_output_in_float32)


# Not a lambda, so that networks can be pickled.
def _output_in_float32(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return float32_under_autocast(output)
