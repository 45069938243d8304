"""RAFT (Teed and Deng, ECCV 2020) as torchvision has it: the learned flow that others are measured against."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights, raft_large, raft_small

from src.models.flow.base import FlowEstimator, check_pair
from src.ops.padding import padded_size
from src.ops.precision import full_precision
from src.structures import FlowPrediction

RaftSize = Literal["small", "large"]
_BUILDERS = {"small": (raft_small, Raft_Small_Weights), "large": (raft_large, Raft_Large_Weights)}
_STRIDE = 8
_SMALLEST_SIDE = 128
"""Below it the coarsest level of the correlation pyramid has a single value in a row."""


class RAFTFlow(FlowEstimator):
    """All-pairs correlation and recurrent updates from the non-key to the key frame, one flow for all segments, at full size.

    Args:
        size: ``small`` (1.0 M parameters) or ``large`` (5.3 M).
        weights: name of torchvision's weights (``C_T_V2``, ``C_T_SKHT_V2``, ...), downloaded to its cache on first use; ``None``
            starts fresh. Not part of :meth:`config`: a saved model has weights of its own.
        num_updates: recurrent updates; 12 as in training.
        size_divisor: the padded image is a multiple of this, itself one of 8; the segmentor's.

    Raises:
        ValueError: if the size, the weights, the number of updates or the divisor cannot be.
        RuntimeError: if the weights are not in the cache and cannot be downloaded.
    """

    def __init__(
        self, size: RaftSize = "small", weights: str | None = None, num_updates: int = 12, size_divisor: int = 32
    ) -> None:
        super().__init__()
        if size not in get_args(RaftSize):
            raise ValueError(f"unknown RAFT size {size!r}; expected one of {', '.join(get_args(RaftSize))}")
        if num_updates < 1 or size_divisor < _STRIDE or size_divisor % _STRIDE:
            raise ValueError(f"num_updates={num_updates}, size_divisor={size_divisor}; expected at least 1 and a multiple of 8")
        self.size: RaftSize = size
        self.num_updates = num_updates
        self.size_divisor = size_divisor
        build, known = _BUILDERS[size]
        names = [entry.name for entry in known]
        if weights is not None and weights not in names:
            raise ValueError(f"torchvision has no weights {weights!r} for raft_{size}; it has {', '.join(names)}")
        self.network = build()
        self._forget()
        if weights is not None:
            self.network.load_state_dict(_download(known[weights]))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments but for ``weights``."""
        return {"size": self.size, "num_updates": self.num_updates, "size_divisor": self.size_divisor}

    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """segment_flow (B, 1, 2, Hp, Wp), float32, of the last update; see :meth:`FlowEstimator.forward`.

        Raises:
            ValueError: if the images are not two equal (B, 3, H, W).
        """
        check_pair(key_image, nonkey_image)
        height, width = key_image.shape[-2:]
        padded = padded_size((height, width), self.size_divisor)
        # Padding repeats the border, which then moves as the border does; black bars would stand still.
        seen = max(padded[0], _SMALLEST_SIDE), max(padded[1], _SMALLEST_SIDE)
        border = (0, seen[1] - width, 0, seen[0] - height)
        with full_precision(key_image):
            key, nonkey = (F.pad(image.float() / 127.5 - 1, border, mode="replicate") for image in (key_image, nonkey_image))
        # torchvision's flow is stored at the pixels of its first image and points into the second.
        flow: Tensor = self.network(nonkey, key, num_flow_updates=self.num_updates)[-1].float()
        self._forget()
        flow = flow[..., : padded[0], : padded[1]]
        return FlowPrediction(flow[:, None], (flow,), padded)

    def _forget(self) -> None:
        # The network leaves the correlations of its last pair in an attribute: 160 MB at 480x853, and nothing a copy should have.
        self.network.corr_block.corr_pyramid = []


def _download(weights: Raft_Small_Weights | Raft_Large_Weights) -> dict[str, Tensor]:
    """The published file, checked against the hash in its name and read as data."""
    try:
        state: dict[str, Tensor] = weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RuntimeError(
            f"{weights.url} could not be downloaded ({error}): put the file into {torch.hub.get_dir()}/checkpoints, "
            "or set weights=null for random ones"
        ) from error
    return state
