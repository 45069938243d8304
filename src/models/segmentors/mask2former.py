"""The paper's segmentor: Mask2Former."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Num
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from src.models.cpu.folded_resnet import fold_resnet
from src.models.cpu.masked_decoder import MaskedDecoder
from src.models.cpu.pixel_decoder import PixelDecoder
from src.models.cpu.windowed_swin import speed_up_swin
from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics, backbone_spec, load_backbone_weights
from src.models.segmentors.base import KeyFrameSegmentor, in_full_precision, keep_projections_precise
from src.models.segmentors.mask2former_config import (
    FIELDS,
    build_mask2former,
    load_mask2former,
    mask2former_config,
    mask2former_fields,
)
from src.structures import MaskPrediction


class Mask2FormerSegmentor(KeyFrameSegmentor):
    """Mask2Former (arXiv 2112.01527) as transformers implements it, behind our names.

    Args:
        network: transformers' model.
        image_mean: per channel, for pixels in 0..1.
        image_std: per channel, for pixels in 0..1.
    """

    model_type = "mask2former"

    def __init__(
        self,
        network: Mask2FormerForUniversalSegmentation,
        image_mean: Statistics = IMAGENET_MEAN,
        image_std: Statistics = IMAGENET_STD,
    ) -> None:
        pixel_level = network.model.pixel_level_module
        fold_resnet(pixel_level.encoder)
        speed_up_swin(pixel_level.encoder)
        keep_projections_precise(pixel_level.decoder)
        pixel_level.decoder = PixelDecoder(pixel_level.decoder)
        network.model.transformer_module = MaskedDecoder(network.model.transformer_module)
        super().__init__(
            network,
            network.class_predictor.out_features - 1,
            network.config.num_queries,
            network.config.hidden_dim,
            image_mean,
            image_std,
        )

    def forward(self, image: Num[Tensor, "B 3 H W"]) -> MaskPrediction:
        """Segment an image.

        Args:
            image: (B, 3, H, W), RGB 0..255, uint8 or float, unpadded.

        Returns:
            Logits of all L = decoder layers + 1 predictions, the first that of the learnable queries; in inference mode those of
            the last alone (L = 1). h, w = 1/4 of the padded image. float32.

        Raises:
            ValueError: see :meth:`normalised`.
        """
        padded, size = self.normalised(image)
        parts = self.parts()
        features = [in_full_precision(feature) for feature in parts["backbone"](padded).feature_maps]
        decoded = parts["pixel_decoder"](features)
        output = parts["transformer_decoder"](decoded.multi_scale_features, decoded.mask_features)
        # The states after the decoder's layer norm; `last_hidden_state` lacks it, and the class head never sees that.
        queries = [state.transpose(0, 1) for state in output.intermediate_hidden_states]
        return MaskPrediction(
            class_logits_per_layer=torch.stack([parts["class_head"](state).float() for state in queries]),
            mask_logits_per_layer=torch.stack([masks.float() for masks in output.masks_queries_logits]),
            queries=queries[-1].float(),
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )

    def parts(self) -> dict[str, nn.Module]:
        """``backbone``, ``pixel_decoder``, ``transformer_decoder``, and the two heads that MPVSS trains in its second stage.

        ``mask_head`` lies inside ``transformer_decoder``; all others are apart, and together they are the whole network.
        """
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": model.transformer_module.decoder.mask_predictor.mask_embedder,
            "class_head": self.network.class_predictor,
        }

    def config(self) -> dict[str, Any]:
        """Everything but the weights: a JSON-able dict that :meth:`from_config` rebuilds the network from."""
        backbone, fields = mask2former_fields(self.network.config)
        return self.plain_config({**fields, "backbone_config": backbone})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network with random weights. Nothing that the dict names is fetched or executed.

        Args:
            config: what :meth:`config` gave. ``decoder_layers`` is transformers' count, one more than there are layers.

        Raises:
            ValueError: if a field is missing, unknown or of the wrong kind, or the architecture is not a known one.
        """
        plain = cls.take_apart(config, {"backbone_config", *FIELDS})
        backbone = plain.fields.pop("backbone_config")
        network = build_mask2former(mask2former_config(backbone, plain.num_classes, plain.fields))
        return cls(network, plain.image_mean, plain.image_std)

    @classmethod
    def from_backbone(
        cls,
        backbone: str,
        num_classes: int,
        num_queries: int = 100,
        hidden_dim: int = 256,
        feedforward_dim: int = 2048,
        encoder_feedforward_dim: int = 1024,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        drop_path: float = 0.3,
        pretrained_backbone: bool | str = True,
    ) -> Self:
        """A new Mask2Former on a backbone of ``src.models.segmentors.backbones.BACKBONES``.

        Args:
            backbone: its name.
            num_classes: K, without "no object".
            num_queries: Q.
            hidden_dim: C, a multiple of 32; also the width of the pixel decoder and of the mask features.
            feedforward_dim: width inside the transformer decoder's feed-forward layers.
            encoder_feedforward_dim: width inside the pixel decoder's.
            encoder_layers: deformable attention layers of the pixel decoder.
            decoder_layers: layers of the transformer decoder; it makes one prediction more (L = decoder_layers + 1).
            num_heads: attention heads.
            drop_path: greatest probability of skipping a block; Swin only, convolutional backbones skip none.
            pretrained_backbone: start from ImageNet weights; a string names a local folder or hub id to take them from.

        Raises:
            ValueError: if the backbone is not known or its weights do not fit.
            OSError: if its weights cannot be reached.
        """
        spec = backbone_spec(backbone)
        sizes: dict[str, Any] = {"model_type": spec.model_type, **spec.fields}
        if spec.model_type == "swin":
            sizes["drop_path_rate"] = drop_path
        fields = {
            "num_queries": num_queries,
            "hidden_dim": hidden_dim,
            "feature_size": hidden_dim,
            "mask_feature_size": hidden_dim,
            "dim_feedforward": feedforward_dim,
            "encoder_feedforward_dim": encoder_feedforward_dim,
            "encoder_layers": encoder_layers,
            "decoder_layers": decoder_layers + 1,
            "num_attention_heads": num_heads,
        }
        segmentor = cls(build_mask2former(mask2former_config(sizes, num_classes, fields)), spec.image_mean, spec.image_std)
        if pretrained_backbone:
            source = pretrained_backbone if isinstance(pretrained_backbone, str) else None
            load_backbone_weights(segmentor.parts()["backbone"], backbone, source)
        return segmentor

    @classmethod
    def from_pretrained(cls, path_or_id: str, num_classes: int | None = None) -> Self:
        """A Mask2Former that transformers saved, in a local folder or on the hub.

        Args:
            path_or_id: a folder, or an id such as ``facebook/mask2former-swin-tiny-ade-semantic``.
            num_classes: K; where it differs from the checkpoint's, the class head starts anew.

        Raises:
            ValueError: if it is another architecture, or its weights are incomplete.
            OSError: if it cannot be reached.
        """
        return cls(*load_mask2former(path_or_id, num_classes))
