"""EoMT as a key-frame segmentor."""

from collections.abc import Mapping, Sequence
from math import lcm
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import EomtForUniversalSegmentation, PreTrainedConfig

from src.models.per_sample_rng import PerSampleRandom
from src.models.segmentors.backbones import Statistics
from src.models.segmentors.base import KeyFrameSegmentor, LayerPredictions
from src.models.segmentors.windows import segment_windows
from src.structures import MaskPrediction, Size


class EomtSegmentor(KeyFrameSegmentor):
    """EoMT, the encoder-only mask transformer (arXiv 2503.19108): queries join the patches in the last blocks of a ViT.

    transformers accepts one square image size. Here position embeddings are resampled (bicubic) to the grid of the image, as is
    usual for vision transformers: at the trained size the numbers equal transformers', and any other size works. L = blocks with
    queries + 1 in training, else 1 + blocks with masked attention. h, w = 1/4 of the image for the published patch size of 16.

    With :meth:`split_images`, images are segmented by windows of the trained size instead, outside of training and without
    earlier layers: label maps of key frames then equal those of transformers' image processor.

    Args:
        mask_probabilities: probability that a query attends only to its own mask, one per block with queries. Training anneals
            them from 1 to 0. Outside of training nothing is random: attention is masked from 0.5 on. The other arguments are
            those of :class:`KeyFrameSegmentor`.
    """

    network_class = EomtForUniversalSegmentation
    model_type = "eomt"
    field_names: ClassVar[tuple[str, ...]] = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "hidden_dropout_prob", "layer_norm_eps",
        "image_size", "patch_size", "num_channels", "mlp_ratio", "layerscale_value", "drop_path_rate", "num_upscale_blocks",
        "attention_dropout", "use_swiglu_ffn", "num_blocks", "num_queries", "num_register_tokens",
    )  # fmt: skip
    option_names: ClassVar[tuple[str, ...]] = ("mask_probabilities",)

    def __init__(
        self,
        network: EomtForUniversalSegmentation,
        mask_probabilities: Sequence[float],
        **statistics: Statistics,
    ) -> None:
        config = network.config
        if len(mask_probabilities) != config.num_blocks:
            raise ValueError(f"{len(mask_probabilities)} mask_probabilities; expected one for each of {config.num_blocks} blocks")
        # A condition on a tensor could neither be compiled nor counted, so the probabilities are numbers of the configuration.
        del network.attn_mask_probs
        super().__init__(network, **statistics)
        self.mask_probabilities = [float(value) for value in mask_probabilities]
        self.mask_random = nn.ModuleList(PerSampleRandom(config.num_queries) for _ in mask_probabilities)
        # At least 32, the padding of the flow estimators.
        self.size_divisor = lcm(32, config.patch_size)

    def split_images(self) -> None:
        """Segment images by windows of the trained size from now on.

        Raises:
            ValueError: if windows would need padding.
        """
        side = self.network.config.image_size
        if side % self.size_divisor:
            raise ValueError(f"split_images is set for an image_size of {side}; expected a multiple of {self.size_divisor}")
        self.splits_images = True

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an unpadded image; see the base class and :meth:`split_images`."""
        if not self.splits_images or self.training:
            return super().forward(image)
        return segment_windows(super().forward, image, self.network.config.image_size, self.size_divisor)

    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Run the network; see the base class."""
        return self.predict_from(padded, self.network.query.weight[None].expand(len(padded), -1, -1))[0]

    def predict_from(
        self, padded: Float[Tensor, "B 3 H W"], queries: Float[Tensor, "B Q C"]
    ) -> tuple[LayerPredictions, Float[Tensor, "B Q C"]]:
        """Run the network with the given queries; return its predictions, and the queries before the final layer norm."""
        network, config, trains = self.network, self.network.config, self.trains_any_part()
        grid = (padded.shape[-2] // config.patch_size, padded.shape[-1] // config.patch_size)
        tokens, positions = self.embed(padded, grid)
        first = config.num_hidden_layers - config.num_blocks
        predictions = []
        for index, layer in enumerate(network.layers):
            bias = None
            if index == first:
                tokens = torch.cat((queries, tokens), dim=1)
            if index >= first:
                probability = self.mask_probabilities[index - first]
                if not network.layers.training:
                    probability = float(probability >= 0.5)
                if trains or probability > 0:
                    predictions.append(self._predict(network.layernorm(tokens), grid))
                if probability > 0:
                    random = self.mask_random[index - first]
                    bias = _attention_bias(predictions[-1][1], grid, tokens.shape[1], probability, random)
            tokens = layer(tokens, bias, **positions)
        states = network.layernorm(tokens)
        predictions.append(self._predict(states, grid))
        class_logits, mask_logits = (list(logits) for logits in zip(*predictions, strict=True))
        return LayerPredictions(class_logits, mask_logits, states[:, : self.num_queries]), tokens[:, : self.num_queries]

    def embed(self, padded: Float[Tensor, "B 3 H W"], grid: Size) -> tuple[Float[Tensor, "B N C"], dict[str, Any]]:
        """Embed class token, registers and patches (N = 1 + registers + h * w); return them and other arguments of the blocks."""
        embeddings = self.network.embeddings
        patches = embeddings.patch_embeddings(padded)
        positions = embeddings.position_embeddings.weight
        trained = self.network.grid_size
        if tuple(grid) != tuple(trained):
            square = positions.T.reshape(1, -1, *trained)
            positions = F.interpolate(square, size=grid, mode="bicubic", antialias=True).flatten(2)[0].T
        return embeddings.dropout(self.with_prefix(patches + positions)), {}

    def with_prefix(self, patches: Float[Tensor, "B P C"]) -> Float[Tensor, "B N C"]:
        """Put class token and registers before the patches."""
        embeddings = self.network.embeddings
        prefix = [token.expand(len(patches), -1, -1) for token in (embeddings.cls_token, embeddings.register_tokens)]
        return torch.cat((*prefix, patches), dim=1)

    def _predict(self, states: Float[Tensor, "B N C"], grid: Size) -> tuple[Float[Tensor, "B Q _"], Float[Tensor, "B Q h w"]]:
        """Return class and mask logits of normalized states."""
        queries = states[:, : self.num_queries]
        patches = states[:, self.num_queries + self.network.embeddings.num_prefix_tokens :]
        pixels = self.network.upscale_block(patches.transpose(1, 2).reshape(len(patches), -1, *grid))
        masks = torch.einsum("bqc,bchw->bqhw", self.network.mask_head(queries), pixels)
        return self.network.class_predictor(queries), masks

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone`` (the ViT), ``queries``, ``pixel_decoder``, ``mask_head``, ``class_head``: disjoint, complete."""
        network = self.network
        return {
            "backbone": nn.ModuleList([network.embeddings, network.layers, network.layernorm]),
            "queries": network.query,
            "pixel_decoder": network.upscale_block,
            "mask_head": network.mask_head,
            "class_head": network.class_predictor,
        }

    @classmethod
    def network_config(cls, fields: Mapping[str, Any], num_classes: int) -> PreTrainedConfig:
        """Build transformers' configuration; see the base class."""
        for name in ("image_size", "patch_size"):
            if not isinstance(fields[name], int):
                raise ValueError(f"{name} of an EoMT is {fields[name]!r}; expected one number, the side of a square")
        return super().network_config(fields, num_classes)

    @classmethod
    def saved_options(cls, network: EomtForUniversalSegmentation) -> dict[str, Any]:
        """Return the mask probabilities, a buffer of the saved network."""
        return {"mask_probabilities": network.attn_mask_probs.tolist()}


def _attention_bias(
    mask_logits: Float[Tensor, "B Q h w"], grid: Size, tokens: int, probability: float, random: nn.Module
) -> Float[Tensor, "B 1 {tokens} {tokens}"]:
    """Return the bias on attention logits that hides all patches outside a query's own mask.

    Args:
        mask_logits: predictions of the previous block.
        grid: (rows, columns) of patches.
        tokens: queries, class token, registers and patches.
        probability: share of the queries whose attention is masked.
        random: source of numbers per query, see :class:`src.models.per_sample_rng.PerSampleRandom`.
    """
    inside = F.interpolate(mask_logits, size=grid, mode="bilinear", align_corners=False).flatten(2) > 0
    batch, queries, patches = inside.shape
    if probability < 1:
        inside |= random(batch, inside.device)[..., None] > probability
    visible = inside.new_ones(batch, tokens, tokens)
    visible[:, :queries, tokens - patches :] = inside
    return torch.zeros_like(visible, dtype=mask_logits.dtype).masked_fill(~visible, -1e9)[:, None]
