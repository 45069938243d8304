"""Networks and clips that are small enough for a law to take milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from src.data.clips import Color
from src.models.flow import CopyFlow, CorrelationFlow, DISFlow, FlowEstimator, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.structures import IGNORE_INDEX, Clip

CLASSES = ("sky", "road", "tree", "car")
CHANNELS = (8, 8, 16, 16, 16, 16)


def tiny_segmentor(num_classes: int = len(CLASSES)) -> Mask2FormerSegmentor:
    segmentor = Mask2FormerSegmentor.from_backbone(
        "tiny", num_classes, num_queries=6, hidden_dim=32, feedforward_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        decoder_layers=2, num_heads=4, drop_path=0.0, pretrained_backbone=False,
    )  # fmt: skip
    # As initialised, all queries agree and every pixel gets one class; unlike queries make maps with structure.
    segmentor.network.model.transformer_module.queries_features.weight.data *= 20
    segmentor.parts()["class_head"].weight.data *= 40
    for parameter in segmentor.parts()["mask_head"].parameters():
        parameter.data *= 4
    return segmentor


def tiny_flow(name: str) -> FlowEstimator:
    makers = {
        "copy": CopyFlow,
        "correlation": lambda: CorrelationFlow(
            disocclusion_classes=len(CLASSES), encoder_channels=(4, 8, 8, 8, 8), context_channels=(4, 4, 4, 4),
            radii=(1, 1, 1, 1), decoder_channels=((8,), (8,), (8,), (8,)), disocclusion_dim=8, detail_dim=4,
        ),
        "dis": DISFlow,
        "pixel": lambda: PixelFlow(encoder_channels=CHANNELS, refine_channels=(16, 8, 8, 8)),
        "query": lambda: QueryFlow(
            query_dim=32, num_queries=6, encoder_channels=CHANNELS, hidden_dim=32, num_heads=4, ffn_dim=32, decoder_layers=1,
            refine_channels=(8, 8, 8, 8), mlp_dim=16,
        ),
    }  # fmt: skip
    flow = makers[name]()
    # An untrained flow may be zero or constant; noise on every weight makes it move things.
    for parameter in flow.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return flow


def tiny_propagator(flow: str = "query", seed: int = 5) -> Propagator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Propagator(tiny_segmentor(), tiny_flow(flow)).eval()


def frames(count: int, size: tuple[int, int] = (40, 56), seed: int = 0) -> list[Tensor]:
    """A smooth image that moves to the right by two pixels a frame, (3, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    coarse = 255 * torch.rand(1, 3, height // 8 + 2, (width + 2 * count) // 8 + 2, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, size=(height, width + 2 * count), mode="bilinear")[0].round().byte()
    return [wide[..., 2 * (count - i) : 2 * (count - i) + width].contiguous() for i in range(count)]


class FakeClips:
    """ClipDataset in memory; labels are bands of brightness, so that they move with the image."""

    fps = 15.0
    classes: tuple[str, ...] = CLASSES
    palette = ((10, 20, 230), (90, 90, 90), (20, 200, 40), (230, 30, 30))
    chosen_colors: tuple[Color | None, ...] = palette

    def __init__(
        self, lengths: tuple[int, ...] = (6, 4), size: tuple[int, int] = (40, 56), unlabelled: frozenset[int] = frozenset()
    ):
        self.images = [frames(length, size, seed) for seed, length in enumerate(lengths)]
        self.clips = [
            Clip(
                f"clip{i}",
                tuple(Path(f"{i}/{t}.jpg") for t in range(length)),
                tuple(None if t in unlabelled else Path(f"{i}/{t}.png") for t in range(length)),
            )
            for i, length in enumerate(lengths)
        ]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        return self.images[clip][frame]

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        if self.clips[clip].labels[frame] is None:
            raise AssertionError("the label of an unlabelled frame was read")
        label = self.images[clip][frame].float().mean(0).div(64).long().clamp(0, 3)
        label[:2] = IGNORE_INDEX
        return label.to(dtype)

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        height, width = self.images[clip][0].shape[-2:]
        flow = torch.zeros(2, height, width)
        flow[0] = -2.0 * (nonkey - key)
        flow[..., : 2 * abs(nonkey - key)] = float("nan")
        return flow
