"""Flow method under evaluation: from a key frame and a non-key frame to one vector per pixel."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.inference.stream_checks import check_finite
from src.models.flow.base import FlowEstimator
from src.models.propagator import Propagator
from src.models.segmentors.base import KeyFrameSegmentor
from src.ops.resize import resize_image, short_side_size
from src.ops.segment_flow import winning_flow
from src.ops.warp import resize_flow, upsample_flow
from src.structures import FlowPrediction, MaskPrediction, Size


class KeyFrame(NamedTuple):
    """State of a key frame.

    Attributes:
        image: (1, 3, h, w), RGB 0..255, at the networks' input size.
        prediction: of the segmentor; ``None`` for an estimator that reads only images.
        features: cached by the estimator; ``None`` if it caches none.
    """

    image: Tensor
    prediction: MaskPrediction | None
    features: tuple[Tensor, ...] | None


class FlowMethod:
    """Flow estimator with the segmentor that predicts its queries.

    Args:
        flow: estimator; put into eval mode.
        segmentor: segmentor of key frames; ``None`` for an estimator that reads only images.
        short_side: shorter side of the networks' input, pixels; ``None``: the image's own size.
        max_long_side: maximum longer side of the networks' input, pixels.
    """

    def __init__(
        self,
        flow: FlowEstimator,
        segmentor: KeyFrameSegmentor | None = None,
        short_side: int | None = None,
        max_long_side: int | None = None,
    ) -> None:
        self.flow = flow.eval()
        self.propagator = None if segmentor is None else Propagator(segmentor, flow).eval()
        self.short_side = short_side
        self.max_long_side = max_long_side

    @property
    def segmentor(self) -> KeyFrameSegmentor | None:
        """Segmentor of key frames."""
        return None if self.propagator is None else self.propagator.segmentor

    @property
    def queries(self) -> tuple[int, int]:
        """Number and width (Q, C) of the queries."""
        if self.propagator is not None:
            return self.propagator.segmentor.num_queries, self.propagator.segmentor.query_dim
        # Without a segmentor the queries are zeros, in the shape that the estimator requires.
        return getattr(self.flow, "num_queries", 1), getattr(self.flow, "query_dim", 1)

    @torch.inference_mode()
    def start(self, key_image: Tensor) -> KeyFrame:
        """Process a key frame, (3, H, W) uint8 RGB.

        Raises:
            ValueError: if masks or classes are NaN or infinite.
        """
        image = self.network_image(key_image)
        prediction = None if self.propagator is None else self.propagator.segmentor(image).final_layer()
        if prediction is not None:
            check_finite({"class logits": prediction.class_logits, "mask logits": prediction.mask_logits})
        return KeyFrame(image, prediction, self.flow.encode_key(image))

    @torch.inference_mode()
    def estimate(self, key: KeyFrame, image: Tensor) -> FlowPrediction:
        """Run the estimator, including its detail, on (1, 3, h, w), RGB 0..255: all work on a non-key frame except the warp."""
        none = image.new_zeros((1, *self.queries), dtype=torch.float32)
        queries = none if key.prediction is None else key.prediction.queries
        return self.flow.with_detail(self.flow(key.image, image, queries, key.features))

    @torch.inference_mode()
    def to_key(self, key: KeyFrame, nonkey_image: Tensor) -> Tensor:
        """Estimate the flow of every pixel of a frame back to the key frame.

        With a flow per segment, each pixel has the flow of the segment that wins there after the masks are warped
        (:func:`src.ops.segment_flow.winning_flow`), which determines the pixel's class.

        Args:
            key: result of :meth:`start`.
            nonkey_image: (3, H, W) uint8 RGB.

        Returns:
            (2, H, W) float32 on the CPU: backward flow in pixels of the image; channel 0 right, channel 1 down.

        Raises:
            ValueError: if the flow is NaN or infinite.
        """
        size = (nonkey_image.shape[-2], nonkey_image.shape[-1])
        image = self.network_image(nonkey_image)
        if self.propagator is not None and key.prediction is not None:
            propagated, found = self.propagator.propagate(key.prediction, key.image, image, key.features)
            found = self.flow.with_detail(found)
        else:
            propagated, found = None, self.estimate(key, image)
        if propagated is not None and found.segment_flow.shape[1] > 1:
            flow = winning_flow(propagated, found)
        else:
            flow = upsample_flow(found.segment_flow[:, 0], found)[..., : image.shape[-2], : image.shape[-1]]
        check_finite({"flow": flow})
        return resize_flow(flow, size)[0].cpu()

    @torch.inference_mode()
    def confidence(self, key: KeyFrame, nonkey_image: Tensor) -> Tensor | None:
        """Estimate the probability that each pixel is visible in the key frame: the maximum over segments.

        Returns (H, W) float32 in 0..1 on the CPU; ``None`` without a confidence head.
        """
        image = self.network_image(nonkey_image)
        found = self.estimate(key, image)
        if found.confidence is None:
            return None
        highest = found.confidence.float().amax(1, keepdim=True)
        padded = F.interpolate(highest, size=found.padded_size, mode="bilinear", align_corners=False)
        size = (nonkey_image.shape[-2], nonkey_image.shape[-1])
        seen = padded[..., : image.shape[-2], : image.shape[-1]]
        return F.interpolate(seen, size=size, mode="bilinear", align_corners=False)[0, 0].cpu()

    def network_image(self, image: Tensor) -> Tensor:
        """Resize (3, H, W) uint8 RGB to the networks' input (1, 3, h, w) on their device."""
        size: Size = (image.shape[-2], image.shape[-1])
        seen = short_side_size(size, self.short_side, self.max_long_side)
        resized = image if seen == size else resize_image(image, seen)
        module = self.flow if self.propagator is None else self.propagator
        device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        return resized[None].to(device)
