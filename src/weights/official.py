"""Whole networks between the published layouts and ours: Mask2Former and MPVSS of detectron2, FlowNetSimple of mmtracking."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from src.models.flow import CopyFlow, DISFlow, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.architecture import Shapes, pixel_flow_config, query_flow_config, segmentor_config
from src.weights.mask2former_names import position_index_names, segmentor_names, unused_names
from src.weights.mpvss_names import MOTION_PREFIX, flownet_names, motion_names
from src.weights.renaming import Names, export_renamed, load_renamed
from src.weights.tensor_files import read_tensors

logger = logging.getLogger(__name__)

FLOWNET_SCALE = 20.0
"""FlowNetS was trained on flow divided by this, in pixels of its input; ours is in pixels of its own grid."""

_HEAD = "sem_seg_head."
_COUNTER = "num_batches_tracked"
_TRAINING_ONLY = ("drop_path_rate", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "image_size", "fuse_init")
_FLOWNET_MARK = "conv1.0.conv.weight"


def load_official(path: str | Path, flow: Literal["copy", "dis"] = "copy") -> Propagator | PixelFlow:
    """The network in a file of published weights: see :func:`read_tensors` and :func:`from_official`.

    Args:
        path: the file.
        flow: see :func:`from_official`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: see both; the message names the file.
    """
    tensors = read_tensors(path)
    try:
        return from_official(tensors, flow)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_official(tensors: Mapping[str, Tensor], flow: Literal["copy", "dis"] = "copy") -> Propagator | PixelFlow:
    """The network that published weights belong to, with these weights. Every tensor must be accounted for.

    A whole MPVSS checkpoint becomes a propagator with the warp grid that it was trained with, a Mask2Former checkpoint one
    without a trained flow, and FlowNetSimple a ``PixelFlow``.

    Args:
        tensors: by official name. ``criterion.*`` may be there and is left out; Swin's ``relative_position_index`` and the
            counters of batch norms may be there or not.
        flow: for a checkpoint that has no flow: the key frame's masks as they are, or OpenCV's DIS.

    Raises:
        ValueError: if it is none of these, or tensors are missing, unknown, of another shape, or not what they must be; lists
            them.
    """
    if _FLOWNET_MARK in tensors:
        return _flownet(tensors)
    if not any(name.startswith(_HEAD) for name in tensors):
        shown = ", ".join(sorted(tensors)[:5])
        raise ValueError(f"neither MPVSS or Mask2Former ({_HEAD}*) nor FlowNetSimple ({_FLOWNET_MARK}): it has {shown}, ...")
    named = _present_names(tensors)
    segmentor = _segmentor({name: value for name, value in named.items() if not name.startswith(MOTION_PREFIX)})
    motion = {name.removeprefix(MOTION_PREFIX): value for name, value in named.items() if name.startswith(MOTION_PREFIX)}
    if not motion:
        return Propagator(segmentor, CopyFlow() if flow == "copy" else DISFlow())
    estimator = QueryFlow(**query_flow_config(_shapes(motion)))
    load_renamed(estimator, motion, _motion_names(estimator), prefix=MOTION_PREFIX)
    if estimator.num_queries != segmentor.num_queries or estimator.query_dim != segmentor.query_dim:
        raise ValueError(
            f"the flow is for {estimator.num_queries} queries of width {estimator.query_dim}, the segmentor has "
            f"{segmentor.num_queries} of width {segmentor.query_dim}"
        )
    return Propagator(segmentor, estimator, warp_grid="reference")


def to_official(propagator: Propagator) -> dict[str, Tensor]:
    """The weights under their published names, and the buffers that the published code saves beside them but ``criterion.*``.

    Args:
        propagator: Mask2Former on Swin or ResNet, with a query flow or one without weights.

    Raises:
        ValueError: if the published code has no such network.
    """
    segmentor, flow = propagator.segmentor, propagator.flow
    if not isinstance(segmentor, Mask2FormerSegmentor):
        raise ValueError(f"{type(segmentor).__name__} has no official names; Mask2FormerSegmentor has")
    config = segmentor.config()
    result = export_renamed(segmentor, segmentor_names(config))
    _check_published(config, segmentor_config(_shapes(result)))
    result |= {name: _position_index(config) for name in position_index_names(config)}
    if isinstance(flow, QueryFlow):
        motion = export_renamed(flow, _motion_names(flow))
        with torch.device("meta"):
            _check_published(flow.config(), QueryFlow(**query_flow_config(_shapes(motion))).config())
        return result | {MOTION_PREFIX + name: value for name, value in motion.items()}
    if not isinstance(flow, CopyFlow | DISFlow):
        raise ValueError(f"{type(flow).__name__} has no official names; QueryFlow has, and CopyFlow and DISFlow need none")
    return result


def _check_published(own: Mapping[str, Any], published: Mapping[str, Any]) -> None:
    """Refuse what no tensor tells and the published code has in one way only, such as the heads of the flow's attention."""
    for name, value in own.items():
        if isinstance(value, Mapping):
            _check_published(value, published[name])
        elif name not in _TRAINING_ONLY and published[name] != value:
            raise ValueError(f"{name} is {value!r}; the published code has {published[name]!r}, which weights cannot change")


def _present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of checkpoints that are older than the released Mask2Former, brought up to date as it does itself."""
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        new = name.replace("predictor.static_query.", "predictor.query_feat.") if name.startswith(_HEAD) else name
        if new.startswith(_HEAD) and not new.startswith((f"{_HEAD}pixel_decoder.", f"{_HEAD}predictor.")):
            new = f"{_HEAD}pixel_decoder." + new.removeprefix(_HEAD)
        if new != name and new in tensors:
            raise ValueError(f"{name} is the old name of {new}, and both are there")
        renamed[new] = value
    return renamed


def _segmentor(tensors: Mapping[str, Tensor]) -> Mask2FormerSegmentor:
    given = {name: value for name, value in tensors.items() if not name.startswith("criterion.")}
    config = segmentor_config(_shapes(given))
    index_names = [name for name in position_index_names(config) if name in given]
    for name in index_names:
        if not torch.equal(given.pop(name), _position_index(config)):
            raise ValueError(f"{name} is not the index of a window of {config['backbone_config']['window_size']} pixels")
    names, kept = segmentor_names(config), unused_names(config)
    # Frozen batch norms count nothing, so their checkpoints have no counters; a new network has 0.
    counters = {name: torch.tensor(0) for name in names if name.endswith(_COUNTER) and name not in given}
    segmentor = Mask2FormerSegmentor.from_config(config)
    load_renamed(segmentor, given | counters, names, kept)
    left_out = [name for name in tensors if name.startswith("criterion.")] + _counted(len(index_names), "relative_position_index")
    fresh = [*kept, *_counted(len(counters), _COUNTER)]
    logger.info("segmentor: %d tensors taken; left out, as nothing reads them: %s", len(given), ", ".join(left_out) or "none")
    logger.info("segmentor: not in the file, of no effect on results: %s", ", ".join(fresh) or "none")
    return segmentor


def _flownet(tensors: Mapping[str, Tensor]) -> PixelFlow:
    estimator = PixelFlow(**pixel_flow_config(_shapes(tensors)))
    load_renamed(estimator, tensors, _tuples(flownet_names()))
    decoder = estimator.pixel_decoder
    with torch.no_grad():
        # The encoder reads the halved image, and its finest level is a quarter of that.
        for stride, layer in zip((64, 32, 16, 8, 4), decoder.predict, strict=True):
            cast(nn.Conv2d, layer).weight.mul_(FLOWNET_SCALE / stride)
        for stride, layer in zip((64, 32, 16, 8), decoder.upsample_flow, strict=True):
            # What the next level sees of this flow stays what it was trained on.
            cast(nn.ConvTranspose2d, layer).weight.mul_(stride / FLOWNET_SCALE)
    return estimator


def _motion_names(flow: QueryFlow) -> Names:
    return _tuples(motion_names(flow.config()["decoder_layers"]))


def _position_index(config: Mapping[str, Any]) -> Tensor:
    """(w * w, w * w): which row of Swin's table belongs to two pixels of a window, w = 0 for other backbones."""
    window = config["backbone_config"].get("window_size", 0)
    row, column = (place.flatten() for place in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
    rows, columns = (place[:, None] - place[None, :] + window - 1 for place in (row, column))
    index: Tensor = rows * (2 * window - 1) + columns
    return index


def _counted(number: int, what: str) -> list[str]:
    return [f"{number} {what}"] if number else []


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _tuples(names: Mapping[str, str]) -> Names:
    return {foreign: (ours,) for foreign, ours in names.items()}
