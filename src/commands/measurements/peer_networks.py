"""Networks of the comparison ``what=peers``, with random weights for VSPW's classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from transformers import VideomtConfig, VideomtForUniversalSegmentation

from src.commands.benchmark_subject import propagator_of
from src.inference.clip_stream import ClipState, ClipStream, label_map
from src.inference.cost_probe import frame_calls
from src.inference.evaluation.fusing import Fusing
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.comparisons.peers import Peer
from src.measure.cost import frame_cost, params_m, without_data
from src.measure.counting import count_multiply_adds
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.videomt import VideomtSegmentor
from src.structures import Size

_CLASSES = 124
_MIT_WIDTHS = (64, 128, 320, 512)


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


def _carried(propagator: Propagator, setting: Setting, per_frame: str, carried: str) -> list[Peer]:
    """Build the rows of a segmentor alone, and with its masks carried online and offline."""
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
        with without_data(segmentor) as shadow:
            image = torch.empty(1, 3, *network_size, device="cpu")

            def frame() -> Tensor:
                features = shadow.encode(image)
                references = [shadow.as_reference(features)] * len(shadow.reference_offsets)
                return label_map(shadow.predict(features, references), network_size, network_size)

            return count_multiply_adds(frame)[1] / 1e9, None

    # Three of the classifiers are read in training only.
    unused = params_m(segmentor.head.clip_classifiers[:-1])
    return [Peer(f"MRCFA {name}", params_m(segmentor) - unused, count, lambda: stream.step(setting.frames[1], state()))]


EXPERIMENTS = {"mask2former_r50": "vspw_r50", "mask2former_swinl": "vspw_swinl"}
"""Networks of ``conf/experiment`` by their name in ``peers.networks``."""
NETWORKS: dict[str, Callable[[Setting], list[Peer]]] = {
    "mask2former_r50": partial(_mpvss, "vspw_r50", "R50"),
    "mask2former_swinl": partial(_mpvss, "vspw_swinl", "Swin-L"),
    "videomt_small": partial(_videomt, "S", 384, 12, 6, 3),
    "videomt_large": partial(_videomt, "L", 1024, 24, 16, 4),
    "mrcfa_b1": partial(_mrcfa, "B1", (2, 2, 2, 2), "deep"),
    "mrcfa_b5": partial(_mrcfa, "B5", (3, 6, 40, 3), "shallow"),
}
"""Networks by their name in ``peers.networks`` -> their rows."""
