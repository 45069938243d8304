"""The public network: loaded by name, and run on videos by one call."""

from pathlib import Path
from typing import Self

import torch

from src.inference.results.model import VideoModel
from src.weights.checkpoints import load_checkpoint


class Propagator(VideoModel):
    """MPVSS (arXiv 2310.18954): a segmentor on key frames, and a flow that propagates its masks to the frames between.

    Args:
        segmentor: predicts masks, classes and queries of an image.
        flow: predicts one flow per query, or one for all, between two images; with the segmentor's size divisor.
        warp_grid: ``exact``, or ``reference`` for weights that were trained with the published code's grid.
        recurrent: whether key frames of a stream start from the memory of the key frame before.
        metadata: class names, colors and side of the network's input, as a checkpoint has them; none by default.

    Raises:
        ValueError: if ``recurrent`` is set for a segmentor without memory, or the segmentor is dense, and the flow reads queries
            or has a disocclusion head.
    """

    @classmethod
    def from_pretrained(cls, path_or_id: str | Path, device: str | torch.device = "cpu") -> Self:
        """Load a model of this project, or a segmentor saved by transformers, in eval mode.

        Args:
            path_or_id: path, name of a shipped model (``street``), or id on the Hugging Face hub.
            device: device of the model.

        Raises:
            FileNotFoundError, OSError, ValueError: if it cannot be read or is neither; the message names it.
        """
        loaded, metadata = load_checkpoint(path_or_id, device)
        return cls(loaded.segmentor, loaded.flow, loaded.warp_grid, loaded.recurrent, metadata).eval()
