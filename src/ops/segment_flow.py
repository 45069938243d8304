"""Flow of each pixel's winning segment."""

from jaxtyping import Float32
from torch import Tensor

from src.ops.masks import class_probabilities
from src.ops.warp import resize_flow, upsample_flow
from src.structures import FlowPrediction, MaskPrediction


def winning_flow(prediction: MaskPrediction, flow: FlowPrediction, source: int = 0) -> Float32[Tensor, "B 2 H W"]:
    """Merge the segment flows into one flow: at every pixel that of the winning segment.

    The winner has the largest product of its best class probability (excluding "no object") and its mask probability.

    Convention:
        backward flow in pixels of the unpadded image, channel 0 right, channel 1 down.

    Args:
        prediction: masks and classes on the non-key frame, that is, after warping; only its final layer is used.
        flow: of the same pair and the same padded image.
        source: set of queries that the flow has moved, of a prediction fused from several key frames.
    """
    height, width = prediction.image_size
    if prediction.dense:
        # One flow moves all masks, whose grid is not that of the flow.
        return upsample_flow(flow.segment_flow[:, 0].float(), flow)[..., :height, :width]
    if tuple(flow.padded_size) != tuple(prediction.padded_size):
        raise ValueError(
            f"flow covers a padded image of {flow.padded_size}; expected {prediction.padded_size}, that of the masks"
        )
    sets = 1 if prediction.shares is None else prediction.shares.shape[1]
    count = prediction.mask_logits.shape[1] // sets
    queries = slice(source * count, (source + 1) * count)
    masks = prediction.mask_logits[:, queries]
    segment_flow = resize_flow(flow.segment_flow.float(), (masks.shape[-2], masks.shape[-1]))
    if segment_flow.shape[1] > 1:
        masks = masks.float().sigmoid()
        confidence = class_probabilities(prediction)[:, queries].amax(-1)
        winner = (confidence[..., None, None] * masks).argmax(1)
        index = winner[:, None, None].expand(-1, 1, 2, -1, -1)
        segment_flow = segment_flow.gather(1, index)
    return upsample_flow(segment_flow[:, 0], flow)[..., :height, :width]
