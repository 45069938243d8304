"""The public network: loaded by name, and run on videos by one call."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import torch

from src.inference.results.model import VideoModel
from src.measure.cost import frame_cost
from src.ops.resize import short_side_size
from src.weights.checkpoints import load_checkpoint
from src.weights.hub.card import TYPICAL_FRAME, CardFacts, write_card
from src.weights.hub.download import HubAccess
from src.weights.hub.upload import check_upload, push_folder
from src.weights.model_folder import save_model


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
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> Self:
        """Load a model of this project, or a segmentor saved by transformers, in eval mode; nothing in its files is executed.

        Args:
            path_or_id: path, name of a shipped model (``street``), or id on the Hugging Face hub, ``<owner>/<name>``.
            device: device of the model.
            revision: branch, tag or commit of a model of the hub; ``None``: ``main``.
            cache_dir: folder of downloaded files; ``None``: that of the hub's client.
            local_files_only: whether only downloaded files are read, without a connection.
            token: access token of the hub; ``None``: that of ``hf auth login`` or ``HF_TOKEN``.

        Raises:
            FileNotFoundError, OSError, ValueError: if it cannot be read or is neither; the message names it.
        """
        access = HubAccess(revision, cache_dir, local_files_only, token)
        loaded, metadata = load_checkpoint(path_or_id, device, access=access)
        return cls(loaded.segmentor, loaded.flow, loaded.warp_grid, loaded.recurrent, metadata).eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a model folder of ``config.json`` and ``model.safetensors`` for :meth:`from_pretrained`, and return it.

        Raises:
            FileExistsError: if ``folder`` is a file, or a non-empty folder that is not a model folder.
        """
        return save_model(self, folder, self.metadata)

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        license: str | None = None,
        commit_message: str = "Upload model",
        token: str | None = None,
    ) -> str:
        """Upload the model with a card to the Hugging Face hub in one commit, and return the URL of the commit.

        Args:
            repo_id: ``<owner>/<name>``; the repository is created if there is none.
            private: visibility of a new repository; ``None``: the owner's default.
            license: identifier of the hub for the card, such as ``mit``; ``None``: the card states none.
            commit_message: title of the commit.
            token: access token that may write; ``None``: that of ``hf auth login`` or ``HF_TOKEN``.

        Raises:
            FileExistsError: if the repository contains a model of another kind.
            OSError: if the hub cannot be reached or refuses the upload.
            ValueError: if the id is invalid, or there is no token.
        """
        check_upload(repo_id, token)
        size = short_side_size(TYPICAL_FRAME, self.metadata.get("short_side"), self.metadata.get("max_long_side"))
        cost = frame_cost(self, size)
        facts = CardFacts(repo_id, license, cost=cost.by_kind, size=size, parameters=cost.params_m)
        with TemporaryDirectory() as folder:
            write_card(self.save_pretrained(folder), facts)
            return push_folder(folder, repo_id, private, token, commit_message)
