"""Networks of a frame as functions of plain tensors, which a runtime traces at one image size."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.models.flow.base import FlowEstimator
from src.models.propagator import Propagator
from src.ops.padding import padded_size
from src.ops.warp import warp_segments
from src.structures import FlowPrediction, MaskPrediction, Size

KEY_OUTPUTS = ("class_logits", "mask_logits", "queries")
"""First outputs of :class:`KeyFrame`."""
NONKEY_INPUTS = ("image", "mask_logits", "queries")
"""First inputs of :class:`NonKeyFrame`."""


class KeyFrame(nn.Module):
    """Segmentation of a key frame, in inference mode or while it is exported.

    Args:
        propagator: shared, not copied.
    """

    def __init__(self, propagator: Propagator) -> None:
        super().__init__()
        self.segmentor, self.flow = propagator.segmentor, propagator.flow

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Segment (B, 3, H, W), RGB 0..255.

        Returns:
            ``KEY_OUTPUTS`` of the final layer, then the features that :class:`NonKeyFrame` reads: cached ones of the flow, or the
            image itself; none for a flow without training.
        """
        prediction = self.segmentor(image).final_layer()
        features = self.flow.encode_key(image)
        if features is None:
            features = () if self.flow.training_free else (image,)
        return (prediction.class_logits, prediction.mask_logits, prediction.queries, *features)

    def prediction(self, outputs: Sequence[Tensor], image_size: Size) -> tuple[MaskPrediction, tuple[Tensor, ...] | None]:
        """Return the outputs for images of (H, W) as a prediction, and the cached features of the flow if it has any."""
        class_logits, mask_logits, queries, *features = outputs
        padded = padded_size(image_size, self.segmentor.size_divisor)
        prediction = MaskPrediction(class_logits[None], mask_logits[None], queries, image_size, padded)
        return prediction, tuple(features) if caches_key(self.flow) else None


class NonKeyFrame(nn.Module):
    """Propagation of a key frame's masks by a trained flow, in inference mode or while it is exported.

    Args:
        propagator: shared, not copied.
    """

    def __init__(self, propagator: Propagator) -> None:
        super().__init__()
        self.flow, self.warp_grid = propagator.flow, propagator.warp_grid

    def forward(self, image: Tensor, mask_logits: Tensor, queries: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        """Propagate masks (B, Q, h, w) to an image (B, 3, H, W), RGB 0..255.

        Args:
            image: non-key frame.
            mask_logits: masks of the key frame.
            queries: (B, Q, C) of the key frame.
            features: further outputs of :class:`KeyFrame`.

        Returns:
            Propagated masks (B, Q, h, w), then the tensors of :func:`flow_tensors`.
        """
        # With cached features, an estimator reads only the size of the key image.
        key_image, cached = (image, features) if caches_key(self.flow) else (features[0], None)
        flow = self.flow(key_image, image, queries, cached)
        return (warp_segments(mask_logits[None], flow.segment_flow, self.warp_grid)[0], *flow_tensors(flow).values())


def caches_key(flow: FlowEstimator) -> bool:
    """Return whether an estimator computes features of the key frame once for all frames that follow it."""
    return type(flow).encode_key is not FlowEstimator.encode_key


def flow_tensors(flow: FlowPrediction) -> dict[str, Tensor]:
    """Return the tensors of a flow by name, without those that only ``FlowEstimator.with_detail`` reads."""
    levels = {f"pixel_flow_{number}": level for number, level in enumerate(flow.pixel_flows)}
    optional = {"confidence": flow.confidence, "disocclusion_logits": flow.disocclusion_logits, "detail": flow.detail}
    present = {name: value for name, value in optional.items() if value is not None}
    return {"segment_flow": flow.segment_flow, **levels, **present}


def carried(
    propagator: Propagator, key: MaskPrediction, outputs: Sequence[Tensor], names: Sequence[str]
) -> tuple[MaskPrediction, FlowPrediction]:
    """Return the outputs of :class:`NonKeyFrame` as the results of ``Propagator.propagate``.

    Args:
        propagator: that of the outputs.
        key: prediction of the key frame.
        outputs: tensors of the frame.
        names: of :func:`flow_tensors`, in their order.
    """
    masks, *rest = outputs
    tensors = dict(zip(names, rest, strict=True))
    levels = tuple(tensors[name] for name in names if name.startswith("pixel_flow_"))
    confidence, disocclusion, detail = (tensors.get(name) for name in ("confidence", "disocclusion_logits", "detail"))
    flow = FlowPrediction(tensors["segment_flow"], levels, key.padded_size, confidence, disocclusion, detail=detail)
    return propagator.carried(key, masks[None], flow), flow
