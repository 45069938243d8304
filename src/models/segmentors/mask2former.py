"""Mask2Former, the segmentor of the paper."""

from typing import Any, Self

from jaxtyping import Float
from torch import Tensor, nn
from transformers import Mask2FormerForUniversalSegmentation

from src.models.cpu.folded_resnet import fold_resnet
from src.models.cpu.masked_decoder import MaskedDecoder
from src.models.cpu.pixel_decoder import PixelDecoder
from src.models.cpu.windowed_swin import speed_up_swin
from src.models.segmentors.backbones import backbone_spec, without_swin_warning
from src.models.segmentors.base import KeyFrameSegmentor, LayerPredictions, float32_under_autocast, project_in_float32
from src.models.segmentors.pretrained import load_backbone_weights


class Mask2FormerSegmentor(KeyFrameSegmentor):
    """Mask2Former (arXiv 2112.01527).

    L = decoder layers + 1, the first prediction being that of the learnable queries; 1 in inference mode. In configurations
    ``decoder_layers`` is transformers' count, which includes that first prediction.
    """

    network_class = Mask2FormerForUniversalSegmentation
    model_type = "mask2former"
    field_names = (
        "feature_size", "mask_feature_size", "hidden_dim", "encoder_feedforward_dim", "activation_function", "encoder_layers",
        "decoder_layers", "num_attention_heads", "dropout", "dim_feedforward", "pre_norm", "enforce_input_projection",
        "common_stride", "num_queries", "feature_strides", "backbone_config",
    )  # fmt: skip

    @classmethod
    def adapt(cls, network: Mask2FormerForUniversalSegmentation) -> None:
        """Install the CPU fast paths."""
        pixel_level = network.model.pixel_level_module
        fold_resnet(pixel_level.encoder)
        speed_up_swin(pixel_level.encoder)
        project_in_float32(pixel_level.decoder)
        pixel_level.decoder = PixelDecoder(pixel_level.decoder)
        network.model.transformer_module = MaskedDecoder(network.model.transformer_module)

    def predict_layers(self, padded: Float[Tensor, "B 3 H W"]) -> LayerPredictions:
        """Run the network; see the base class."""
        parts = self.parts()
        features = [float32_under_autocast(feature) for feature in parts["backbone"](padded).feature_maps]
        decoded = parts["pixel_decoder"](features)
        output = parts["transformer_decoder"](decoded.multi_scale_features, decoded.mask_features)
        # The class head reads these states, after the decoder's layer norm; `last_hidden_state` is before it.
        queries = [state.transpose(0, 1) for state in output.intermediate_hidden_states]
        class_logits = [parts["class_head"](state) for state in queries]
        return LayerPredictions(class_logits, list(output.masks_queries_logits), queries[-1])

    def parts(self) -> dict[str, nn.Module]:
        """Return ``backbone``, ``pixel_decoder``, ``transformer_decoder`` and the two heads that MPVSS trains in stage two.

        ``mask_head`` lies inside ``transformer_decoder``; the other parts are disjoint and cover the network.
        """
        model = self.network.model
        return {
            "backbone": model.pixel_level_module.encoder,
            "pixel_decoder": model.pixel_level_module.decoder,
            "transformer_decoder": model.transformer_module,
            "mask_head": model.transformer_module.decoder.mask_predictor.mask_embedder,
            "class_head": self.network.class_predictor,
        }

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
        """Build a Mask2Former; errors are those of :func:`load_backbone_weights`.

        Args:
            backbone: name in ``src.models.segmentors.backbones.BACKBONES``.
            num_classes: K, without "no object".
            num_queries: Q.
            hidden_dim: C, a multiple of 32; also the width of the pixel decoder and of the mask features.
            feedforward_dim: hidden width of the transformer decoder's feed-forward layers.
            encoder_feedforward_dim: hidden width of the pixel decoder's feed-forward layers.
            encoder_layers: deformable attention layers of the pixel decoder.
            decoder_layers: layers of the transformer decoder, one fewer than its predictions (L).
            num_heads: attention heads.
            drop_path: maximum probability of skipping a block; Swin only, convolutional backbones skip none.
            pretrained_backbone: start from ImageNet weights; a string is their local folder or hub id.
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
            "backbone_config": sizes,
        }
        config = cls.network_config(fields, num_classes)
        with without_swin_warning():
            network = Mask2FormerForUniversalSegmentation(config)
        segmentor = cls(network, spec.image_mean, spec.image_std)
        if pretrained_backbone:
            source = pretrained_backbone if isinstance(pretrained_backbone, str) else None
            load_backbone_weights(segmentor.parts()["backbone"], backbone, source)
        return segmentor
