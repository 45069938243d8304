"""EoMT as a segmentor of key frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import lcm
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn
from transformers import EomtConfig, EomtForUniversalSegmentation

from src.models.per_sample_rng import PerSampleRandom
from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics
from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.pretrained import load_network, strict_config
from src.structures import MaskPrediction, Size

FIELDS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "hidden_dropout_prob", "layer_norm_eps",
    "image_size", "patch_size", "num_channels", "mlp_ratio", "layerscale_value", "drop_path_rate", "num_upscale_blocks",
    "attention_dropout", "use_swiglu_ffn", "num_blocks", "num_queries", "num_register_tokens",
)  # fmt: skip


class EomtSegmentor(KeyFrameSegmentor):
    """EoMT, an encoder-only mask transformer (arXiv 2503.19108): queries join the patches in the last blocks of a plain ViT.

    transformers runs it at one square size. Here the position embeddings are resampled (bicubic) to the grid of the image, as is
    usual for vision transformers: at its own size the numbers are transformers', and any other size works.

    Args:
        network: transformers' model.
        mask_probabilities: of each of the last blocks, that a query attends to its own mask only. Training anneals them from 1 to
            0. Outside of training nothing is drawn at random: masked from 0.5 on.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.

    Raises:
        ValueError: if there is not one probability for each block.
    """

    model_type = "eomt"

    def __init__(
        self,
        network: EomtForUniversalSegmentation,
        mask_probabilities: Sequence[float],
        image_mean: Statistics = IMAGENET_MEAN,
        image_std: Statistics = IMAGENET_STD,
    ) -> None:
        config = network.config
        if len(mask_probabilities) != config.num_blocks:
            raise ValueError(f"{len(mask_probabilities)} mask_probabilities; expected one for each of {config.num_blocks} blocks")
        # Part of the configuration: a decision that depends on a tensor could neither be compiled nor counted.
        del network.attn_mask_probs
        classes = network.class_predictor.out_features - 1
        super().__init__(network, classes, config.num_queries, config.hidden_size, image_mean, image_std)
        self.mask_probabilities = tuple(float(value) for value in mask_probabilities)
        self.mask_draws = nn.ModuleList(PerSampleRandom(config.num_queries) for _ in mask_probabilities)
        # At least 32, as flow estimators pad.
        self.size_divisor = lcm(32, config.patch_size)

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image; see :meth:`KeyFrameSegmentor.forward`.

        L = blocks with queries + 1 in training, else 1 and one for each block that needs a mask; h, w = 1/4 of the padded image
        for the published patch size of 16.
        """
        padded, size = self.normalised(image)
        network, config, learning = self.network, self.network.config, self.learning()
        grid = (padded.shape[-2] // config.patch_size, padded.shape[-1] // config.patch_size)
        tokens = self._tokens(padded, grid)
        first = config.num_hidden_layers - config.num_blocks
        predictions = []
        for index, layer in enumerate(network.layers):
            bias = None
            if index == first:
                tokens = torch.cat((network.query.weight[None].expand(len(tokens), -1, -1), tokens), dim=1)
            if index >= first:
                probability = self.mask_probabilities[index - first]
                if not network.layers.training:
                    probability = float(probability >= 0.5)
                if learning or probability > 0:
                    predictions.append(self._predict(network.layernorm(tokens), grid))
                if probability > 0:
                    bias = _attention_bias(predictions[-1][1], grid, tokens.shape[1], probability, self.mask_draws[index - first])
            tokens = layer(tokens, bias)
        states = network.layernorm(tokens)
        predictions.append(self._predict(states, grid))
        return MaskPrediction(
            class_logits_per_layer=torch.stack([classes.float() for classes, _ in predictions]),
            mask_logits_per_layer=torch.stack([masks.float() for _, masks in predictions]),
            queries=states[:, : self.num_queries].float(),
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )

    def _tokens(self, padded: Float[Tensor, "B 3 H W"], grid: Size) -> Float[Tensor, "B N C"]:
        """Class token, registers and patches with their positions: (B, 1 + registers + h w, C)."""
        embeddings = self.network.embeddings
        patches = embeddings.patch_embeddings(padded)
        positions = embeddings.position_embeddings.weight
        own = self.network.grid_size
        if tuple(grid) != tuple(own):
            square = positions.T.reshape(1, -1, *own)
            positions = F.interpolate(square, size=grid, mode="bicubic", antialias=True).flatten(2)[0].T
        prefix = [token.expand(len(patches), -1, -1) for token in (embeddings.cls_token, embeddings.register_tokens)]
        tokens: Tensor = embeddings.dropout(torch.cat((*prefix, patches + positions), dim=1))
        return tokens

    def _predict(self, states: Float[Tensor, "B N C"], grid: Size) -> tuple[Float[Tensor, "B Q _"], Float[Tensor, "B Q h w"]]:
        """Class and mask logits of normalised states."""
        queries = states[:, : self.num_queries]
        patches = states[:, self.num_queries + self.network.embeddings.num_prefix_tokens :]
        pixels = self.network.upscale_block(patches.transpose(1, 2).reshape(len(patches), -1, *grid))
        masks = torch.einsum("bqc,bchw->bqhw", self.network.mask_head(queries), pixels)
        return self.network.class_predictor(queries), masks

    def parts(self) -> dict[str, nn.Module]:
        """``backbone`` (the ViT), ``queries``, ``pixel_decoder``, ``mask_head``, ``class_head``: apart, and all there is."""
        network = self.network
        return {
            "backbone": nn.ModuleList([network.embeddings, network.layers, network.layernorm]),
            "queries": network.query,
            "pixel_decoder": network.upscale_block,
            "mask_head": network.mask_head,
            "class_head": network.class_predictor,
        }

    def config(self) -> dict[str, Any]:
        """Everything but the weights: a JSON-able dict that :meth:`from_config` rebuilds the network from."""
        return self.plain_config({"mask_probabilities": list(self.mask_probabilities), **_plain(self.network.config)})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network with random weights; see :meth:`KeyFrameSegmentor.from_config`."""
        plain = cls.take_apart(config, {"mask_probabilities", *FIELDS})
        probabilities = plain.fields.pop("mask_probabilities")
        network = EomtForUniversalSegmentation(_config(plain.fields, plain.num_classes))
        return cls(network, probabilities, plain.image_mean, plain.image_std)

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """An EoMT that transformers saved, e.g. ``tue-mps/ade20k_semantic_eomt_large_512``; see the base class."""
        network, mean, std = load_network(
            path_or_id,
            EomtConfig,
            EomtForUniversalSegmentation,
            lambda saved, classes: _config(_plain(saved), classes),
            "class_predictor.",
            num_classes,
        )
        return cls(network, network.attn_mask_probs.tolist(), mean, std)


def _attention_bias(mask_logits: Tensor, grid: Size, tokens: int, probability: float, draws: nn.Module) -> Tensor:
    """What to add to the attention of all tokens, so that a query sees of the patches its own mask alone: (B, 1, S, S)."""
    inside = F.interpolate(mask_logits, size=grid, mode="bilinear", align_corners=False).flatten(2) > 0
    batch, queries, patches = inside.shape
    if probability < 1:
        inside |= draws(batch, inside.device)[..., None] > probability
    visible = inside.new_ones(batch, tokens, tokens)
    visible[:, :queries, tokens - patches :] = inside
    return torch.zeros_like(visible, dtype=mask_logits.dtype).masked_fill(~visible, -1e9)[:, None]


def _plain(config: EomtConfig) -> dict[str, Any]:
    values = config.to_dict()
    return {field: values[field] for field in FIELDS}


def _config(fields: Mapping[str, Any], num_classes: int) -> EomtConfig:
    for name in ("image_size", "patch_size"):
        if not isinstance(fields[name], int):
            raise ValueError(f"{name} of an EoMT is {fields[name]!r}; expected one number, for a square")
    return strict_config(EomtConfig, {**fields, "num_labels": num_classes})
