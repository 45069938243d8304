"""Mix transformer (MiT), the encoder of SegFormer (arXiv 2105.15203), around transformers' network."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerModel

from src.models.drop_path import SampleDropPath
from src.models.segmentors.backbones import checked_config
from src.models.segmentors.pretrained import load_network

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
_BLOCK_NORM_EPS = 1e-6


class MixTransformer(nn.Module):
    """Mix transformer with four stages of 1/4, 1/8, 1/16 and 1/32 of the image.

    The norms of a block and those after a stage have the epsilon of the published network, 1e-6; transformers has 1e-5 there.
    Weights are initialized as published: linear layers normally with 0.02, convolutions by their fan-out.

    Args:
        widths: channels of each stage, multiples of its attention heads (1, 2, 5, 8).
        depths: blocks of each stage.
        drop_path_rate: probability of the last block to be skipped in training; it rises linearly from 0.
        weights: folder or hub id of a network saved by transformers whose encoder is loaded, such as ``nvidia/mit-b1``.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], drop_path_rate: float = 0.1, weights: str | None = None
    ) -> None:
        super().__init__()
        if any(width % heads for width, heads in zip(widths, HEADS, strict=True)):
            raise ValueError(f"widths are {list(widths)}; expected multiples of {HEADS}, the attention heads of the stages")
        values = {
            "hidden_sizes": list(widths),
            "depths": list(depths),
            "num_attention_heads": list(HEADS),
            "sr_ratios": list(REDUCTIONS),
            "drop_path_rate": drop_path_rate,
        }
        self.network = SegformerModel(cast(SegformerConfig, checked_config(SegformerConfig, values)))
        self.network.apply(_initialize)
        for stage in self.network.stages:
            norms = [
                stage.layer_norm,
                *(norm for block in stage.blocks for norm in (block.layernorm_before, block.layernorm_after)),
            ]
            for norm in norms:
                norm.eps = _BLOCK_NORM_EPS
        SampleDropPath.install(self.network)
        if weights is not None:
            config = self.network.config
            loaded, _, _ = load_network(weights, SegformerModel, lambda _saved, _classes: config, class_head="")
            self.network.load_state_dict(loaded.state_dict())

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B _ _ _"], ...]:
        """Return the maps of the four stages, finest first, of a normalized image with sides of multiples of 32."""
        maps: list[Tensor] = []
        for stage in self.network.stages:
            maps.append(stage(maps[-1] if maps else image))
        return tuple(maps)


def _initialize(module: nn.Module) -> None:
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
