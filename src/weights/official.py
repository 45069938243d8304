"""Conversion of published networks: Mask2Former and MPVSS of detectron2, FlowNetSimple of mmtracking, MRCFA."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.models.config_limits import check_limits
from src.models.flow import CopyFlow, DISFlow, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.architecture import Shapes, pixel_flow_config, query_flow_config, segmentor_config
from src.weights.mask2former_names import position_index_names, segmentor_names, unused_names
from src.weights.mpvss_names import MOTION_PREFIX, flownet_names, motion_names
from src.weights.mrcfa_names import MARK, UNUSED, mrcfa_config, mrcfa_names
from src.weights.renaming import build_renamed, export_renamed
from src.weights.tensor_files import read_tensors

logger = logging.getLogger(__name__)

FLOWNET_SCALE = 20.0
"""Divisor of FlowNetS's training flow, in pixels of its input; our flow is in pixels of its own grid."""

_HEAD = "sem_seg_head."
_COUNTER = "num_batches_tracked"
_TRAINING_ONLY = ("drop_path_rate", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "image_size", "fuse_init")
_FLOWNET_MARK = "conv1.0.conv.weight"


def load_official(path: str | Path, flow: Literal["copy", "dis"] = "copy") -> Propagator | PixelFlow | MrcfaSegmentor:
    """Load the network of a file of published weights, by :func:`read_tensors` and :func:`from_official`."""
    tensors = read_tensors(path)
    try:
        return from_official(tensors, flow)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_official(
    tensors: Mapping[str, Tensor], flow: Literal["copy", "dis"] = "copy"
) -> Propagator | PixelFlow | MrcfaSegmentor:
    """Build the network of published weights and load them; every tensor must be accounted for.

    A whole MPVSS checkpoint becomes a propagator with the warp grid of its training, a Mask2Former checkpoint a propagator
    without a trained flow, FlowNetSimple a ``PixelFlow``, and MRCFA an ``MrcfaSegmentor``.

    Args:
        tensors: tensors by official name. ``criterion.*`` is left out; Swin's ``relative_position_index`` and the counters of
            batch norms are optional.
        flow: flow of a checkpoint without one: ``copy`` for the key frame's masks unchanged, or ``dis`` for OpenCV's DIS.

    Raises:
        ValueError: if the weights are of another network, or tensors are missing, unknown, or of another shape or value; the
            message lists them.
    """
    if _FLOWNET_MARK in tensors:
        return _flownet(tensors)
    if any(name.startswith(MARK) for name in tensors):
        return _mrcfa(tensors)
    if not any(name.startswith(_HEAD) for name in tensors):
        shown = ", ".join(sorted(tensors)[:5])
        raise ValueError(
            f"tensors are {shown}, ...; expected MPVSS or Mask2Former ({_HEAD}*), FlowNetSimple ({_FLOWNET_MARK}) or "
            f"MRCFA ({MARK}*)"
        )
    named = _present_names(tensors)
    segmentor = _segmentor({name: value for name, value in named.items() if not name.startswith(MOTION_PREFIX)})
    motion = {name.removeprefix(MOTION_PREFIX): value for name, value in named.items() if name.startswith(MOTION_PREFIX)}
    if not motion:
        return Propagator(segmentor, CopyFlow() if flow == "copy" else DISFlow())
    settings = query_flow_config(_shapes(motion))
    check_limits(settings)
    names = motion_names(settings["decoder_layers"])
    estimator = build_renamed(lambda: QueryFlow(**settings), motion, names, prefix=MOTION_PREFIX)
    if estimator.num_queries != segmentor.num_queries or estimator.query_dim != segmentor.query_dim:
        raise ValueError(
            f"the flow reads {estimator.num_queries} queries of width {estimator.query_dim}; expected {segmentor.num_queries} of "
            f"width {segmentor.query_dim}, as the segmentor predicts"
        )
    return Propagator(segmentor, estimator, warp_grid="reference")


def to_official(propagator: Propagator) -> dict[str, Tensor]:
    """Return weights and buffers by published name, without ``criterion.*``.

    Args:
        propagator: Mask2Former on Swin or ResNet, with a query flow or a flow without weights.

    Raises:
        ValueError: if the published code cannot build this network.
    """
    segmentor, flow = propagator.segmentor, propagator.flow
    if not isinstance(segmentor, Mask2FormerSegmentor):
        raise ValueError(
            f"segmentor is {type(segmentor).__name__}; expected Mask2FormerSegmentor, the only one with official names"
        )
    config = segmentor.config()
    result = export_renamed(segmentor, segmentor_names(config))
    _check_published(config, segmentor_config(_shapes(result)))
    result |= {name: _position_index(config) for name in position_index_names(config)}
    if isinstance(flow, QueryFlow):
        motion = export_renamed(flow, motion_names(flow.config()["decoder_layers"]))
        with torch.device("meta"):
            _check_published(flow.config(), QueryFlow(**query_flow_config(_shapes(motion))).config())
        return result | {MOTION_PREFIX + name: value for name, value in motion.items()}
    if not isinstance(flow, CopyFlow | DISFlow):
        raise ValueError(f"flow is {type(flow).__name__}; expected QueryFlow, or CopyFlow or DISFlow, which have no weights")
    return result


def _check_published(own: Mapping[str, Any], published: Mapping[str, Any]) -> None:
    """Refuse settings that the published code fixes and no shape shows, such as the attention heads of the flow."""
    for name, value in own.items():
        if isinstance(value, Mapping):
            _check_published(value, published[name])
        elif name not in _TRAINING_ONLY and published[name] != value:
            raise ValueError(f"{name} is {value!r}; expected {published[name]!r}, which is fixed in the published code")


def _present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of checkpoints older than the released Mask2Former, as its own loader does."""
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        new = name.replace("predictor.static_query.", "predictor.query_feat.") if name.startswith(_HEAD) else name
        if new.startswith(_HEAD) and not new.startswith((f"{_HEAD}pixel_decoder.", f"{_HEAD}predictor.")):
            new = f"{_HEAD}pixel_decoder." + new.removeprefix(_HEAD)
        if new != name and new in tensors:
            raise ValueError(f"{name} and {new} are both present; expected one, as the first is the old name of the second")
        renamed[new] = value
    return renamed


def _segmentor(tensors: Mapping[str, Tensor]) -> Mask2FormerSegmentor:
    weights = {name: value for name, value in tensors.items() if not name.startswith("criterion.")}
    config = segmentor_config(_shapes(weights))
    check_limits(config)
    index_names = [name for name in position_index_names(config) if name in weights]
    for name in index_names:
        if not torch.equal(weights.pop(name), _position_index(config)):
            raise ValueError(f"{name} differs from the index of a window of {config['backbone_config']['window_size']} pixels")
    names, unused = segmentor_names(config), unused_names(config)
    # Checkpoints of frozen batch norms have no counters; a new network starts at 0.
    counters = {name: torch.tensor(0) for name in names if name.endswith(_COUNTER) and name not in weights}
    segmentor = build_renamed(lambda: Mask2FormerSegmentor.from_config(config), weights | counters, names, unused)
    left_out = [name for name in tensors if name.startswith("criterion.")]
    left_out += [f"{len(index_names)} relative_position_index"] if index_names else []
    fresh = [*unused, *([f"{len(counters)} {_COUNTER}"] if counters else [])]
    logger.info("segmentor: %d tensors loaded; left out, as unused: %s", len(weights), ", ".join(left_out) or "none")
    logger.info("segmentor: missing in the file, without effect on results: %s", ", ".join(fresh) or "none")
    return segmentor


def _flownet(tensors: Mapping[str, Tensor]) -> PixelFlow:
    settings = pixel_flow_config(_shapes(tensors))
    check_limits(settings)
    estimator = build_renamed(lambda: PixelFlow(**settings), tensors, flownet_names())
    decoder = estimator.pixel_decoder
    with torch.no_grad():
        # The encoder reads the halved image, and its finest level is a quarter of that.
        for stride, layer in zip((64, 32, 16, 8, 4), decoder.predict, strict=True):
            cast(nn.Conv2d, layer).weight.mul_(FLOWNET_SCALE / stride)
        for stride, layer in zip((64, 32, 16, 8), decoder.upsample_flow, strict=True):
            # Keeps the scale of the flow that the next level was trained on.
            cast(nn.ConvTranspose2d, layer).weight.mul_(stride / FLOWNET_SCALE)
    return estimator


def _mrcfa(tensors: Mapping[str, Tensor]) -> MrcfaSegmentor:
    weights = {name: value for name, value in tensors.items() if name not in UNUSED}
    config = mrcfa_config(_shapes(weights))
    check_limits(config)
    return build_renamed(lambda: MrcfaSegmentor.from_config(config), weights, mrcfa_names(config))


def _position_index(config: Mapping[str, Any]) -> Tensor:
    """Return (w * w, w * w): the row of Swin's bias table for each pair of pixels of a window; w = 0 for other backbones."""
    window = config["backbone_config"].get("window_size", 0)
    row, column = (place.flatten() for place in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
    rows, columns = (place[:, None] - place[None, :] + window - 1 for place in (row, column))
    index: Tensor = rows * (2 * window - 1) + columns
    return index


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in tensors.items()}
