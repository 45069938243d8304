"""Dense segmentors: every network of transformers that predicts one map of scores per class."""

import json
from collections.abc import Mapping
from typing import Any, Literal, Self, cast, get_args

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.image_processing_backends import TorchvisionBackend
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

from src.models.config_limits import check_limits
from src.models.drop_path import SampleDropPath
from src.models.segmentors.backbones import checked_config
from src.models.segmentors.base import KeyFrameSegmentor, LayerPredictions
from src.models.segmentors.image_processors import build_processor, load_processor
from src.models.segmentors.pretrained import load_strictly, read_config
from src.models.segmentors.saved_files import naming
from src.ops.padding import padded_size
from src.structures import MaskPrediction, Size

DENSE_TYPES: tuple[str, ...] = tuple(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)
"""transformers' names of the architectures, those of ``AutoModelForSemanticSegmentation``."""
SizeRule = Literal["processor", "frame"]
"""processor: the network reads frames at the size of its image processor. frame: at their own, rounded up to multiples of 32."""

_FAR = 1e4  # class logits whose softmax is exactly 0 and 1
_NAMES = ("id2label", "label2id", "architectures", "transformers_version", "dtype", "torch_dtype", "_name_or_path")
"""Fields of a configuration that no network depends on."""


class DenseSegmentor(KeyFrameSegmentor):
    """Network of ``AutoModelForSemanticSegmentation``: its K maps of class scores are the masks, without queries.

    Images are prepared by the network's own image processor, on their device, but for a center crop, which would leave pixels
    without a class. The maps cover the whole image, so that key frames have the classes of transformers'
    ``post_process_semantic_segmentation`` with the size of the frame, bit for bit.

    Args:
        network: model built by transformers.
        processor: image processor of the model.
        size_rule: see :data:`SizeRule`; may be changed.

    Raises:
        ValueError: if there are less than two classes, or the processor pads images.
    """

    def __init__(self, network: PreTrainedModel, processor: TorchvisionBackend, size_rule: SizeRule = "processor") -> None:
        # Not the base class's, which is for networks with queries.
        nn.Module.__init__(self)
        if network.config.num_labels < 2:
            raise ValueError(f"the network has {network.config.num_labels} class; expected at least 2 of a dense segmentor")
        SampleDropPath.install(network)
        self.network: Any = network
        self.processor: Any = processor
        self.size_rule: SizeRule = size_rule
        self.num_classes = self.num_queries = int(network.config.num_labels)
        self.query_dim = 1
        self.train()

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image, RGB 0..255 of any dtype; the prediction is ``dense`` and float32, also under autocast.

        Raises:
            ValueError: if the network cannot read images of that size.
        """
        pixels, size = self.preprocess(image)
        try:
            logits = self.network(pixel_values=pixels).logits
        except (ValueError, RuntimeError) as error:
            advice = "; use dense_size=checkpoint" if self.size_rule == "frame" else ""
            found = f"{pixels.shape[-2]}x{pixels.shape[-1]}"
            raise ValueError(
                f"{type(self.network).__name__} cannot read images of {found}: {' '.join(str(error).split())[:300]}{advice}"
            ) from error
        count, classes = len(pixels), self.num_classes
        selecting = _FAR * (torch.eye(classes, classes + 1, device=logits.device) - 1)
        return MaskPrediction(
            class_logits_per_layer=selecting.expand(1, count, -1, -1),
            mask_logits_per_layer=logits.float()[None],
            queries=logits.new_zeros((count, classes, 1), dtype=torch.float32),
            image_size=size,
            padded_size=size,
            dense=True,
        )

    def preprocess(self, image: Num[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B 3 _ _"], Size]:
        """Return the image as the network reads it, and its (H, W) before."""
        size = (image.shape[-2], image.shape[-1])
        rule: dict[str, Any] = {}
        if self.size_rule == "frame":
            height, width = padded_size(size, self.size_divisor)
            rule = {"do_resize": True, "size": {"height": height, "width": width}, "keep_aspect_ratio": False}
            rule = {name: value for name, value in rule.items() if hasattr(self.processor, name)}
        if hasattr(self.processor, "do_center_crop"):
            rule["do_center_crop"] = False
        prepared: Tensor = self.processor(images=list(image), return_tensors="pt", **rule)["pixel_values"]
        return prepared, size

    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Not of dense networks; :meth:`forward` does all."""
        raise NotImplementedError(f"{type(self.network).__name__} has no queries")

    def check_flow(self, reads_queries: bool, has_disocclusion: bool) -> None:
        """Raise ``ValueError`` if a flow needs what dense segmentors lack."""
        if reads_queries or has_disocclusion:
            needs = "queries" if reads_queries else "masks for its disocclusion head"
            raise ValueError(
                f"the flow reads {needs}, and a dense {self.network.config.model_type} has none; expected one flow for all "
                "classes; use flow=dis, copy, or a correlation or pixel flow without a disocclusion head"
            )

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone`` and ``head``, disjoint and complete."""
        backbone, *others = self.network.children()
        return {"backbone": backbone, "head": nn.ModuleList(others)}

    def unused_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the auxiliary head, whose scores no label map reads."""
        head = getattr(self.network, "auxiliary_head", None)
        return [] if head is None else list(head.parameters())

    def config(self) -> dict[str, Any]:
        """Return everything but the weights: a JSON-able dict for :meth:`from_config`."""
        network = self.network.config.to_dict()
        return {
            "model_type": self.network.config.model_type,
            "num_classes": self.num_classes,
            "size_rule": self.size_rule,
            "processor": json.loads(self.processor.to_json_string()),
            "network": {name: value for name, value in network.items() if name not in _NAMES},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a segmentor with random weights. Nothing that the config names is fetched or executed.

        Raises:
            ValueError: if a field is missing, unknown or of the wrong type.
        """
        expected = {"model_type", "num_classes", "size_rule", "processor", "network"}
        if set(config) != expected:
            raise ValueError(f"config of a dense segmentor: {', '.join(sorted(set(config) ^ expected))} missing or unknown")
        if config["size_rule"] not in get_args(SizeRule):
            raise ValueError(f"size_rule is {config['size_rule']!r}; expected {' or '.join(get_args(SizeRule))}")
        if not isinstance(config["network"], Mapping) or not isinstance(config["processor"], Mapping):
            raise ValueError("network or processor of a dense segmentor is no object; expected their configurations")
        check_limits(config)
        values = {**config["network"], "num_labels": config["num_classes"]}
        network_class, made = _network(config["model_type"], values)
        return cls(network_class(made), build_processor(config["processor"]), config["size_rule"])

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """Load a segmentor saved by transformers, model and image processor.

        Args:
            path_or_id: local folder, or id of the Hugging Face hub such as ``nvidia/segformer-b0-finetuned-ade-512-512``.
            num_classes: K; where it differs from the checkpoint's, the tensors that depend on it are re-initialized.

        Raises:
            ValueError: if the network or its image processor is of another kind, or weights are missing.
            OSError: if it cannot be read.
        """
        values = read_config(path_or_id)
        with naming(path_or_id):
            network_class, config = _network(str(values["model_type"]), values)
            found = values.get("architectures") or [network_class.__name__]
            if network_class.__name__ not in found:
                raise ValueError(f"it contains a {', '.join(map(str, found))[:80]}; expected a {network_class.__name__}")
            processor = load_processor(path_or_id)
            new = []
            if num_classes not in (None, config.num_labels):
                _, changed = _network(str(values["model_type"]), {**config.to_dict(), **_unnamed(num_classes)})
                new = _differing(network_class, config, changed)
                config = changed
        return cls(load_strictly(path_or_id, network_class, config, new), processor)


def _unnamed(num_classes: int | None) -> dict[str, Any]:
    return {"id2label": None, "label2id": None, "num_labels": num_classes}


def _differing(network_class: type[PreTrainedModel], *configs: PreTrainedConfig) -> list[str]:
    """Return the names of the tensors whose shapes differ between networks of two configurations."""
    with torch.device("meta"), torch.random.fork_rng(devices=()):
        first, second = (cast(Any, network_class)(config).state_dict() for config in configs)
    return [name for name, value in second.items() if name not in first or first[name].shape != value.shape]


def _network(model_type: str, values: Mapping[str, Any]) -> tuple[Any, PreTrainedConfig]:
    """Return the class and the configuration of a network from the values of its config.json."""
    if model_type not in DENSE_TYPES:
        raise ValueError(f"model_type is {model_type[:80]!r}; expected one of {', '.join(DENSE_TYPES)}")
    _check_backbones(values)
    config_class = CONFIG_MAPPING[model_type]
    config = checked_config(config_class, {name: value for name, value in values.items() if name != "model_type"})
    return MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING[config_class], config


def _check_backbones(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if a configuration names a backbone or weights that would be fetched."""
    inner = values.get("backbone_config")
    if values.get("backbone") is not None and inner is None and values.get("model_type") != "timm_backbone":
        raise ValueError(f"backbone is {str(values['backbone'])[:80]!r}; expected a backbone_config, so that nothing is fetched")
    if values.get("use_pretrained_backbone"):
        raise ValueError("use_pretrained_backbone is true; expected false, so that nothing is fetched")
    if ":" in str(values.get("backbone")):
        raise ValueError(f"backbone of timm is {str(values['backbone'])[:80]!r}; expected a name of timm.list_models()")
    if isinstance(inner, Mapping):
        _check_backbones(inner)
