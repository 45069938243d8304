"""Baselines of the speed benchmark: transformers on every frame, and the published code's non-key frame."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Mask2FormerForUniversalSegmentation
from transformers.models.mask2former.image_processing_mask2former import Mask2FormerImageProcessor
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

from src.models.flow.base import FlowEstimator
from src.models.segmentors.backbones import without_swin_warning
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.ops.warp import resize_flow, warp_segments
from src.structures import MaskPrediction


class TransformersMask2Former:
    """Mask2Former of transformers with a copy of our segmentor's weights; only the normalization of images is our code.

    Images are (1, 3, H, W), RGB 0..255.
    """

    def __init__(self, segmentor: Mask2FormerSegmentor) -> None:
        self._preprocess = segmentor.preprocess
        # Built from the configuration: our network replaces some modules, under the same weight names.
        with without_swin_warning():
            self.network = Mask2FormerForUniversalSegmentation(copy.deepcopy(segmentor.network.config))
        del self.network.criterion
        self.network.load_state_dict(segmentor.network.state_dict())
        self.network.eval().to(segmentor.image_mean.device)
        self.processor = Mask2FormerImageProcessor()

    @torch.inference_mode()
    def map_by_transformers(self, image: Tensor) -> Tensor:
        """Predict (H, W) classes with transformers' own post-processing, which resizes masks to 384x384 and ignores padding."""
        padded, size = self._preprocess(image)
        output: Mask2FormerForUniversalSegmentationOutput = self.network(padded)
        semantic: Tensor = self.processor.post_process_semantic_segmentation(output, target_sizes=[size])[0]
        return semantic

    @torch.inference_mode()
    def map_at_full_size(self, image: Tensor) -> Tensor:
        """Predict (1, H, W) classes with the full-size post-processing of the paper's evaluation."""
        return full_size_scores(self.predict(image)).argmax(1)

    @torch.inference_mode()
    def predict(self, image: Tensor) -> MaskPrediction:
        """Predict all L layers of an image (1, 3, H, W) with transformers' forward pass."""
        padded, size = self._preprocess(image)
        output = self.network.model(padded, output_hidden_states=True)
        states = [state.transpose(0, 1) for state in output.transformer_decoder_intermediate_states]
        return MaskPrediction(
            class_logits_per_layer=torch.stack([self.network.class_predictor(state) for state in states]),
            mask_logits_per_layer=torch.stack(list(output.masks_queries_logits)),
            queries=states[-1],
            image_size=size,
            padded_size=(padded.shape[-2], padded.shape[-1]),
        )


@torch.inference_mode()
def nonkey_map_by_reference(
    key: MaskPrediction, key_image: Tensor, nonkey_image: Tensor, flow: FlowEstimator, layer_by_layer: bool = False
) -> Tensor:
    """Predict a non-key frame as the published code does: warp the masks of all L layers, sum classes at full size.

    Args:
        key: all L predictions of the key frame.
        key_image: (1, 3, H, W), RGB 0..255.
        nonkey_image: (1, 3, H, W), RGB 0..255.
        flow: flow estimator.
        layer_by_layer: run the estimator's training modules, like the published code; ``False`` runs our inference fast path, so
            that only the rest of the frame differs from ours.

    Returns:
        (1, H, W) classes.
    """
    # The fast path applies in inference mode.
    with torch.inference_mode(not layer_by_layer), torch.no_grad():
        motion = flow(key_image, nonkey_image, key.queries)
    segment_flow = resize_flow(motion.segment_flow, (key.mask_logits.shape[-2], key.mask_logits.shape[-1]))
    warped = warp_segments(key.mask_logits_per_layer, segment_flow, "reference")
    prediction = MaskPrediction(key.class_logits_per_layer, warped, key.queries, key.image_size, key.padded_size)
    return full_size_scores(prediction).argmax(1)


def full_size_scores(prediction: MaskPrediction) -> Tensor:
    """Compute scores (B, K, H, W): masks upsampled to the padded image, sigmoid, class-weighted sum, crop."""
    masks = F.interpolate(prediction.mask_logits, size=prediction.padded_size, mode="bilinear", align_corners=False).sigmoid()
    classes = prediction.class_logits.softmax(-1)[..., :-1]
    height, width = prediction.image_size
    return torch.einsum("bqk,bqhw->bkhw", classes, masks)[..., :height, :width]
