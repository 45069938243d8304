"""Networks of the comparison ``what=peers``, with random weights for VSPW's classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    VideomtConfig,
    VideomtForUniversalSegmentation,
)

from src.commands.benchmark_subject import propagator_of
from src.inference.clip_stream import ClipState, ClipStream, label_map
from src.inference.cost_probe import frame_calls
from src.inference.evaluation.fusing import Fusing
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.clip_cost import clip_cost, inference_params_m
from src.measure.comparisons.peers import Peer
from src.measure.cost import frame_cost, params_m
from src.measure.counting import count_multiply_adds
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.models.segmentors.dense import DenseSegmentor
from src.models.segmentors.videomt import VideomtSegmentor
from src.structures import Size

_CLASSES = 124
_MIT_WIDTHS = (64, 128, 320, 512)
_DIS_SHORT_SIDE = 240


@dataclass(frozen=True)
class Setting:
    """Conditions of all networks.

    Attributes:
        frames: (1, 3, H, W) uint8, at least two frames of a clip on the device.
        configs: experiments' configurations by name, for networks that ``conf/`` describes.
        autocast: precision of the networks; ``None``: float32.
    """

    frames: list[Tensor]
    configs: Mapping[str, DictConfig]
    autocast: torch.dtype | None

    @property
    def size(self) -> Size:
        """(H, W) of the frames."""
        return self.frames[0].shape[-2], self.frames[0].shape[-1]

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.frames[0].device


def _mpvss(experiment: str, name: str, setting: Setting) -> list[Peer]:
    propagator = propagator_of(setting.configs[experiment], setting.device)
    return _carried(propagator, setting, f"Mask2Former {name}, per frame", f"MPVSS {name}")


def _segformer(name: str, depths: tuple[int, ...], decoder: int, setting: Setting) -> list[Peer]:
    config = SegformerConfig(
        num_labels=_CLASSES, depths=list(depths), hidden_sizes=list(_MIT_WIDTHS), decoder_hidden_size=decoder
    )
    segmentor = DenseSegmentor(SegformerForSemanticSegmentation(config), SegformerImageProcessor(), size_rule="frame")
    flow = DISFlow(short_side=_DIS_SHORT_SIDE, size_divisor=segmentor.size_divisor)
    propagator = Propagator(segmentor, flow).to(setting.device)
    return _carried(propagator, setting, f"SegFormer {name}, per frame", f"SegFormer {name} carried by DIS")


def _carried(propagator: Propagator, setting: Setting, per_frame: str, carried: str) -> list[Peer]:
    """Build the rows of a segmentor on every frame, and with its masks carried online and offline."""
    first, second, last = setting.frames[0], setting.frames[1], setting.frames[-1]
    online, offline = (
        StreamingSegmentor(propagator, FixedInterval(2), autocast=setting.autocast, mode=mode) for mode in ("online", "offline")
    )  # fmt: skip
    cost = cache(lambda: frame_cost(propagator, setting.size, [offline.fusion]))

    def gflops(mode: Any) -> tuple[float, float | None]:
        kinds = Fusing(mode, offline.fusion).kinds
        key, nonkey = (cost().frame(kind.is_key, kind.flows, offline.fusion, kind.sources) for kind in kinds)
        return key, nonkey

    @cache
    def state() -> Any:
        return online.step(first, None)[1]

    @cache
    def from_both() -> Callable[[], object]:
        return frame_calls(offline, second, (first, last))[1]

    def key() -> object:
        return online.step(first, None)

    alone, both = params_m(propagator.segmentor), params_m(propagator)
    return [
        Peer(per_frame, alone, lambda: (gflops("online")[0], None), key),
        Peer(f"{carried}, online", both, partial(gflops, "online"), key, lambda: online.step(second, state())),
        Peer(f"{carried}, offline", both, partial(gflops, "offline"), key, lambda: from_both()()),
    ]


def _videomt(name: str, width: int, layers: int, heads: int, blocks: int, setting: Setting) -> list[Peer]:
    config = VideomtConfig(
        num_labels=_CLASSES, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_blocks=blocks
    )
    segmentor = VideomtSegmentor(VideomtForUniversalSegmentation(config))
    propagator = Propagator(segmentor, CopyFlow(segmentor.size_divisor), recurrent=True).to(setting.device)
    stream = StreamingSegmentor(propagator, FixedInterval(1), autocast=setting.autocast)
    state = cache(lambda: stream.step(setting.frames[0], None)[1])

    def count() -> tuple[float, None]:
        return frame_cost(propagator, setting.size).average(1), None

    return [Peer(f"VidEoMT {name}", params_m(segmentor), count, lambda: stream.step(setting.frames[1], state()))]


def _mrcfa(name: str, depths: tuple[int, ...], refinement: Any, setting: Setting) -> list[Peer]:
    segmentor = MrcfaSegmentor(_CLASSES, _MIT_WIDTHS, depths, refinement=refinement).to(setting.device)
    stream = ClipStream(segmentor, autocast=setting.autocast)
    network_size = segmentor.network_size(setting.size)

    @cache
    def state() -> ClipState:
        # The features of one frame stand for those of the nine before.
        first = stream.step(setting.frames[0], None)[1]
        return ClipState(8, first.size, dict.fromkeys(range(9), first.references[0]))

    def count() -> tuple[float, None]:
        logits = torch.empty((1, _CLASSES, network_size[0] // 4, network_size[1] // 4), device="meta")
        _, post = count_multiply_adds(lambda: label_map(logits, network_size, network_size))
        return clip_cost(segmentor, network_size).streamed + post / 1e9, None

    return [Peer(f"MRCFA {name}", inference_params_m(segmentor), count, lambda: stream.step(setting.frames[1], state()))]


EXPERIMENTS = {"mask2former_r50": "vspw_r50", "mask2former_swinl": "vspw_swinl"}
"""Networks of ``conf/experiment`` by their name in ``peers.networks``."""
NETWORKS: dict[str, Callable[[Setting], list[Peer]]] = {
    "mask2former_r50": partial(_mpvss, "vspw_r50", "R50"),
    "mask2former_swinl": partial(_mpvss, "vspw_swinl", "Swin-L"),
    "videomt_small": partial(_videomt, "S", 384, 12, 6, 3),
    "videomt_large": partial(_videomt, "L", 1024, 24, 16, 4),
    "mrcfa_b1": partial(_mrcfa, "B1", (2, 2, 2, 2), "deep"),
    "mrcfa_b5": partial(_mrcfa, "B5", (3, 6, 40, 3), "shallow"),
    "segformer_b1": partial(_segformer, "B1", (2, 2, 2, 2), 256),
    "segformer_b5": partial(_segformer, "B5", (3, 6, 40, 3), 768),
}
"""Networks by their name in ``peers.networks`` -> their rows."""
