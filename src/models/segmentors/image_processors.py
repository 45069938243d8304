"""Image processors of transformers: size, normalization and order of channels of the images that a network reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoImageProcessor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.utils.hub import cached_file

from src.files.saved_networks import read_json_object
from src.models.config_limits import check_limits

_FILE = "preprocessor_config.json"


def load_processor(path_or_id: str) -> TorchvisionBackend:
    """Load the image processor of a local folder or hub id. Nothing in it is executed.

    Raises:
        ValueError: if it is missing, not one of transformers, or pads images.
    """
    file = cached_file(path_or_id, _FILE, _raise_exceptions_for_missing_entries=False)
    if file is None:
        raise ValueError(
            f"it has no {_FILE}; expected that of its image processor, which sets the size and scale of images; "
            "write it there by save_pretrained of the image processor"
        )
    values = read_json_object(Path(file))
    _check(values)
    return _checked(AutoImageProcessor.from_pretrained(path_or_id, trust_remote_code=False, backend="torchvision"))


def build_processor(values: Mapping[str, Any]) -> TorchvisionBackend:
    """Build an image processor from its configuration; errors are those of :func:`load_processor`."""
    name = _check(values)
    if name is None:
        raise ValueError("the image processor has no image_processor_type; expected a name of transformers")
    return _checked(getattr(transformers, name).from_dict(dict(values)))


def _check(values: Mapping[str, Any]) -> str | None:
    """Check a configuration, and return the name of its class if it has one."""
    check_limits(values)
    older = str(values.get("feature_extractor_type") or "").replace("FeatureExtractor", "ImageProcessor")
    name = str(values.get("image_processor_type") or older).removesuffix("Fast")
    known = {kinds.get("torchvision") for kinds in IMAGE_PROCESSOR_MAPPING_NAMES.values()}
    if name and name not in known:
        raise ValueError(f"image_processor_type is {name[:80]!r}; expected one of transformers, as SegformerImageProcessor")
    return name or None


def _checked(processor: Any) -> TorchvisionBackend:
    if not isinstance(processor, TorchvisionBackend):
        raise ValueError(f"the image processor is a {type(processor).__name__}; expected one with torchvision")
    if getattr(processor, "do_pad", None):
        raise ValueError(f"{type(processor).__name__} pads images (do_pad); expected one that resizes them")
    return processor
