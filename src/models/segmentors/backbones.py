"""Image backbones of the segmentors: sizes, image normalization and sources of ImageNet weights."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import MaskFormerSwinConfig, PreTrainedConfig, ResNetConfig, SwinConfig, TimmBackboneConfig

Statistics = tuple[float, float, float]
"""One number per RGB channel, for pixels scaled to 0..1."""

IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)

_CONFIGS: dict[str, type[PreTrainedConfig]] = {
    "swin": SwinConfig,
    "maskformer-swin": MaskFormerSwinConfig,  # transformers' type of a Swin inside a MaskFormer
    "resnet": ResNetConfig,
    "timm_backbone": TimmBackboneConfig,
}
_SWIN_FIELDS = (
    "image_size", "patch_size", "num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "hidden_act", "use_absolute_embeddings",
    "layer_norm_eps", "out_features",
)  # fmt: skip
_FIELDS: dict[str, tuple[str, ...]] = {
    "swin": _SWIN_FIELDS,
    "maskformer-swin": _SWIN_FIELDS,
    "resnet": (
        "num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act", "downsample_in_first_stage",
        "downsample_in_bottleneck", "out_features",
    ),
    "timm_backbone": ("backbone", "num_channels", "out_indices"),
}  # fmt: skip
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


@dataclass(frozen=True)
class BackboneSpec:
    """Architecture, weights and normalization of a named backbone.

    Attributes:
        model_type: transformers' name of the architecture.
        fields: sizes, in transformers' names; its features have strides 4, 8, 16 and 32.
        weights: hub id of its ImageNet weights; ``None`` where they are not on the hub.
    """

    model_type: str
    fields: Mapping[str, Any]
    weights: str | None
    image_mean: Statistics = IMAGENET_MEAN
    image_std: Statistics = IMAGENET_STD


def _swin(width: int, depths: list[int], heads: list[int], window: int, size: int, weights: str | None) -> BackboneSpec:
    fields = {"embed_dim": width, "depths": depths, "num_heads": heads, "window_size": window, "image_size": size}
    return BackboneSpec("swin", {**fields, "out_features": _STAGES}, weights)


def _resnet(depths: list[int], weights: str) -> BackboneSpec:
    # Stride in the 3x3 convolution ("v1.5"), which is transformers' default.
    return BackboneSpec("resnet", {"depths": depths, "out_features": _STAGES}, weights)


# Swin-T, Swin-S and ResNets start from ImageNet-1k, Swin-B and Swin-L from ImageNet-22k, as in the paper.
BACKBONES: dict[str, BackboneSpec] = {
    "swin_tiny": _swin(96, [2, 2, 6, 2], [3, 6, 12, 24], 7, 224, "microsoft/swin-tiny-patch4-window7-224"),
    "swin_small": _swin(96, [2, 2, 18, 2], [3, 6, 12, 24], 7, 224, "microsoft/swin-small-patch4-window7-224"),
    "swin_base": _swin(128, [2, 2, 18, 2], [4, 8, 16, 32], 12, 384, "microsoft/swin-base-patch4-window12-384-in22k"),
    "swin_large": _swin(192, [2, 2, 18, 2], [6, 12, 24, 48], 12, 384, "microsoft/swin-large-patch4-window12-384-in22k"),
    "resnet50": _resnet([3, 4, 6, 3], "microsoft/resnet-50"),
    "resnet101": _resnet([3, 4, 23, 3], "microsoft/resnet-101"),
    "efficientnet_lite0": BackboneSpec(
        "timm_backbone",
        {"backbone": "tf_efficientnet_lite0", "out_indices": [1, 2, 3, 4]},
        None,
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
    ),
    "tiny": _swin(16, [1, 1, 1, 1], [1, 1, 2, 2], 4, 64, None),
}


def backbone_spec(name: str) -> BackboneSpec:
    """Look up a backbone."""
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}; expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def backbone_config(fields: Mapping[str, Any]) -> PreTrainedConfig:
    """Build transformers' configuration of a known architecture. Nothing that the fields name is fetched or executed.

    Args:
        fields: ``model_type`` (``swin``, ``maskformer-swin``, ``resnet`` or ``timm_backbone``) and sizes, in transformers' names.

    Raises:
        ValueError: if the architecture, a field or the name of a timm model is unknown.
    """
    sizes = dict(fields)
    model_type = sizes.pop("model_type", None)
    if model_type not in _CONFIGS:
        raise ValueError(f"backbone type is {model_type!r}; expected one of {', '.join(_CONFIGS)}")
    unknown = sorted(set(sizes) - set(_FIELDS[model_type]))
    if unknown:
        expected = ", ".join(_FIELDS[model_type])
        raise ValueError(f"unknown field {', '.join(unknown)} of a {model_type} backbone; expected some of {expected}")
    if model_type == "timm_backbone":
        # Imported here, because it is slow to import and other backbones do without it.
        import timm

        # timm also accepts addresses such as "hf-hub:owner/model" as names.
        if not timm.is_model(sizes.get("backbone", "")):
            raise ValueError(f"backbone of timm is {sizes.get('backbone')!r}; expected a name of timm.list_models()")
    return checked_config(_CONFIGS[model_type], sizes)


def checked_config(config_class: type[PreTrainedConfig], fields: Mapping[str, Any]) -> PreTrainedConfig:
    """Build a configuration of transformers; raise ``ValueError`` if a field has the wrong type."""
    try:
        return config_class(**fields)
    except StrictDataclassError as error:
        raise ValueError(f"invalid {config_class.model_type} configuration ({' '.join(str(error).split())})") from error


def backbone_fields(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the fields from which :func:`backbone_config` rebuilds a backbone, JSON-able."""
    if config.model_type not in _FIELDS:
        raise ValueError(f"backbone type is {config.model_type!r}; expected one of {', '.join(_CONFIGS)}")
    values = config.to_dict()
    return {field: values[field] for field in ("model_type", *_FIELDS[config.model_type])}


@contextmanager
def without_swin_warning() -> Iterator[None]:
    """Silence transformers' warning that segmentors support only Swin: tests show that the other backbones work."""
    names = (f"transformers.models.{name}.configuration_{name}" for name in ("mask2former", "maskformer"))
    sources = [logging.getLogger(name) for name in names]

    def keep(record: logging.LogRecord) -> bool:
        return "is not a supported model" not in record.getMessage()

    for source in sources:
        source.addFilter(keep)
    try:
        yield
    finally:
        for source in sources:
            source.removeFilter(keep)
