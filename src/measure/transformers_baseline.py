"""What the project is measured against: plain transformers on every frame, and a non-key frame as the published code does it."""

from __future__ import annotations

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


class PlainMask2Former:
    """transformers' own Mask2Former with the weights of one of ours, and nothing of our code but the image's normalisation.

    Args:
        segmentor: whose weights are copied; it stays as it is.
    """

    def __init__(self, segmentor: Mask2FormerSegmentor) -> None:
        self._preprocess = segmentor.preprocess
        # Built anew: ours has other modules in some places, which have the same names of weights.
        with without_swin_warning():
            self.network = Mask2FormerForUniversalSegmentation(copy.deepcopy(segmentor.network.config))
        del self.network.criterion
        self.network.load_state_dict(segmentor.network.state_dict())
        self.network.eval().to(segmentor.image_mean.device)
        self.processor = Mask2FormerImageProcessor()

    @torch.inference_mode()
    def map_by_transformers(self, image: Tensor) -> Tensor:
        """(H, W) classes by transformers' own post-processing, which resizes masks to 384x384 and ignores padding.

        Args:
            image: (1, 3, H, W), RGB 0..255.
        """
        padded, size = self._preprocess(image)
        output: Mask2FormerForUniversalSegmentationOutput = self.network(padded)
        semantic: Tensor = self.processor.post_process_semantic_segmentation(output, target_sizes=[size])[0]
        return semantic

    @torch.inference_mode()
    def map_at_full_size(self, image: Tensor) -> Tensor:
        """(1, H, W) classes by the paper's post-processing, as its evaluation does it.

        Args:
            image: (1, 3, H, W), RGB 0..255.
        """
        return full_size_scores(self.predict(image)).argmax(1)

    @torch.inference_mode()
    def predict(self, image: Tensor) -> MaskPrediction:
        """All L predictions of an image (1, 3, H, W), by transformers' own forward pass."""
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
    key: MaskPrediction, key_image: Tensor, nonkey_image: Tensor, flow: FlowEstimator, plain_flow: bool = False
) -> Tensor:
    """A non-key frame as the published code does it: the masks of all L predictions are warped, classes summed at full size.

    Args:
        key: all L predictions of the key frame.
        key_image: (1, 3, H, W), RGB 0..255.
        nonkey_image: (1, 3, H, W), RGB 0..255.
        flow: the estimator.
        plain_flow: ``False``: the estimator is as fast as in our frames, so that the rest is what differs. ``True``: it runs
            layer by layer as it is trained, and as the published one does.

    Returns:
        (1, H, W) classes.
    """
    # The shorter ways are those of inference mode.
    with torch.inference_mode(not plain_flow), torch.no_grad():
        motion = flow(key_image, nonkey_image, key.queries)
    segment_flow = resize_flow(motion.segment_flow, (key.mask_logits.shape[-2], key.mask_logits.shape[-1]))
    warped = warp_segments(key.mask_logits_per_layer, segment_flow, "reference")
    carried = MaskPrediction(key.class_logits_per_layer, warped, key.queries, key.image_size, key.padded_size)
    return full_size_scores(carried).argmax(1)


def full_size_scores(prediction: MaskPrediction) -> Tensor:
    """(B, K, H, W): masks upsampled to the padded image, sigmoid, class-weighted sum, crop."""
    masks = F.interpolate(prediction.mask_logits, size=prediction.padded_size, mode="bilinear", align_corners=False).sigmoid()
    classes = prediction.class_logits.softmax(-1)[..., :-1]
    height, width = prediction.image_size
    return torch.einsum("bqk,bqhw->bkhw", classes, masks)[..., :height, :width]
