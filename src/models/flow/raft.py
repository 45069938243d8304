"""torchvision's RAFT (Teed and Deng, ECCV 2020), the learned baseline of the flow comparison."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights, raft_large, raft_small

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.ops.device import full_precision
from src.ops.loadable import check_loaded
from src.structures import FlowPrediction

RaftSize = Literal["small", "large"]
_BUILDERS = {"small": (raft_small, Raft_Small_Weights), "large": (raft_large, Raft_Large_Weights)}
_STRIDE = 8
_SMALLEST_SIDE = 128
"""Smaller images leave a single value per row at the coarsest level of the correlation pyramid."""


class RAFTFlow(FlowEstimator):
    """All-pairs correlation and recurrent updates from the non-key to the key frame, one flow for all segments, at full size.

    Args:
        size: ``small`` (1.0 M parameters) or ``large`` (5.3 M).
        weights: name of torchvision's weights (``C_T_V2``, ``C_T_SKHT_V2``, ...), downloaded to its cache on first use; ``None``:
            random weights. :meth:`config` leaves it out, because a saved model contains its weights.
        num_updates: recurrent updates; 12 as in training.
        size_divisor: the padded image is a multiple of this, itself a multiple of 8; the segmentor's.
        fusion_dim: width of the fusion head; ``None``: no head.

    Raises:
        ValueError: if size or weights are unknown, ``num_updates`` is below 1 or the divisor is not a multiple of 8.
        RuntimeError: if the weights are not in the cache and cannot be downloaded.
    """

    def __init__(
        self,
        size: RaftSize = "small",
        weights: str | None = None,
        num_updates: int = 12,
        size_divisor: int = 32,
        fusion_dim: int | None = None,
    ) -> None:
        super().__init__({"size": size, "num_updates": num_updates, "size_divisor": size_divisor, "fusion_dim": fusion_dim})
        if size not in get_args(RaftSize):
            raise ValueError(f"RAFT size is {size!r}; expected one of {', '.join(get_args(RaftSize))}")
        if num_updates < 1 or size_divisor < _STRIDE or size_divisor % _STRIDE:
            raise ValueError(f"num_updates={num_updates}, size_divisor={size_divisor}; expected at least 1 and a multiple of 8")
        self.size: RaftSize = size
        self.num_updates = num_updates
        self.size_divisor = size_divisor
        build, known = _BUILDERS[size]
        names = [entry.name for entry in known]
        if weights is not None and weights not in names:
            raise ValueError(f"weights of raft_{size} are {weights!r}; expected one of torchvision's {', '.join(names)}")
        self.network = build()
        self._clear_correlations()
        if weights is not None:
            state = _download(known[weights])
            check_loaded(state, f"RAFT weights {weights}")
            self.network.load_state_dict(state)
        self.add_fusion_head(fusion_dim)

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return segment_flow (B, 1, 2, Hp, Wp), float32, of the last update."""
        padded = check_pair(key_image, nonkey_image, self.size_divisor)
        height, width = key_image.shape[-2:]
        # Replicate padding moves like the border; black bars would stand still.
        covered = max(padded[0], _SMALLEST_SIDE), max(padded[1], _SMALLEST_SIDE)
        border = (0, covered[1] - width, 0, covered[0] - height)
        with full_precision(key_image):
            key, nonkey = (F.pad(image.float() / 127.5 - 1, border, mode="replicate") for image in (key_image, nonkey_image))
        # torchvision's flow is stored at the pixels of its first image and points into the second.
        flow: Tensor = self.network(nonkey, key, num_flow_updates=self.num_updates)[-1].float()
        self._clear_correlations()
        flow = flow[..., : padded[0], : padded[1]]
        return FlowPrediction(flow[:, None], (flow,), padded)

    def _clear_correlations(self) -> None:
        # The network keeps the correlations of its last pair in an attribute: 160 MB at 480x853, which copies must not carry.
        self.network.corr_block.corr_pyramid = []


def _download(weights: Raft_Small_Weights | Raft_Large_Weights) -> dict[str, Tensor]:
    """Download the published file, check the hash in its name and read it as data."""
    try:
        state: dict[str, Tensor] = weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RuntimeError(
            f"{weights.url} could not be downloaded ({error}): put the file into {torch.hub.get_dir()}/checkpoints, "
            "or set weights=null for random weights"
        ) from error
    return state
