"""EoMT with a DINOv3 backbone as a key-frame segmentor."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import EomtDinov3ForUniversalSegmentation

from src.models.per_sample_rng import PerSampleRandom
from src.models.segmentors.backbones import Statistics
from src.models.segmentors.eomt import EomtSegmentor
from src.structures import Size


class EomtDinov3Segmentor(EomtSegmentor):
    """EoMT whose ViT is DINOv3's: rotary positions of the patches in every attention, for any image size.

    In training the positions of each sample are shifted, stretched and scaled at random as in transformers, which draws one
    number for the whole batch. Arguments and L are those of :class:`EomtSegmentor`.
    """

    network_class = EomtDinov3ForUniversalSegmentation
    model_type = "eomt_dinov3"
    field_names = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob",
        "layer_norm_eps", "image_size", "patch_size", "num_channels", "layerscale_value", "drop_path_rate", "num_upscale_blocks",
        "attention_dropout", "num_blocks", "num_queries", "num_register_tokens", "rope_parameters", "query_bias", "key_bias",
        "value_bias", "proj_bias", "mlp_bias", "use_gated_mlp", "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale",
    )  # fmt: skip

    def __init__(
        self, network: EomtDinov3ForUniversalSegmentation, mask_probabilities: Sequence[float], **statistics: Statistics
    ) -> None:
        super().__init__(network, mask_probabilities, **statistics)
        self.position_random = PerSampleRandom(5)

    def embed(self, padded: Float[Tensor, "B 3 H W"], grid: Size) -> tuple[Float[Tensor, "B N C"], dict[str, Any]]:
        """Embed the tokens; see the base class. The blocks take cosine and sine of the positions, (B or 1, 1, h * w, _)."""
        network = self.network
        patches = network.embeddings.patch_embeddings(padded).flatten(2).transpose(1, 2)
        angles = 2 * math.pi * self._positions(padded, grid)[..., None] * network.rope_embeddings.inv_freq
        angles = angles.flatten(-2).tile(2)[:, None]
        return network.dropout(self.with_prefix(patches)), {"position_embeddings": (angles.cos(), angles.sin())}

    def _positions(self, padded: Float[Tensor, "B 3 H W"], grid: Size) -> Float[Tensor, "_ P 2"]:
        """Return (y, x) of the patches' centers in -1..1, of one sample for all outside of training."""
        rows, columns = (2 * (torch.arange(side, device=padded.device) + 0.5) / side - 1 for side in grid)
        centers = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)[None]
        if not self.network.layers.training:
            return centers
        config = self.network.config
        random = 2 * self.position_random(len(padded), padded.device)[:, None] - 1
        if config.pos_embed_shift is not None:
            centers = centers + config.pos_embed_shift * random[..., :2]
        # Log-uniform in [1 / value, value].
        for value, numbers in ((config.pos_embed_jitter, random[..., 2:4]), (config.pos_embed_rescale, random[..., 4:])):
            if value is not None:
                centers = centers * value**numbers
        return centers

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts of an EoMT; the backbone includes the dropout of the embeddings."""
        network = self.network
        backbone = nn.ModuleList([network.embeddings, network.dropout, network.layers, network.layernorm])
        return {**super().parts(), "backbone": backbone}
