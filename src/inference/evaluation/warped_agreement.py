"""Temporal consistency of a stream of frames and maps, with DIS flow."""

from torch import Tensor

from src.inference.stream_checks import check_finite
from src.metrics.temporal_consistency import TemporalConsistency
from src.models.flow.dis import image_flow

# The evaluation size of VSPW: flow at a higher resolution costs more than segmentation and changes the figure little.
_SHORT_SIDE = 480


class WarpedAgreement:
    """:class:`TemporalConsistency` (``metric``) with DIS flow between neighbouring frames; stores one frame and its map."""

    def __init__(self) -> None:
        self.metric = TemporalConsistency()
        self._previous: tuple[Tensor, Tensor] | None = None

    def add(self, image: Tensor, semantic_map: Tensor) -> None:
        """Add the next frame of the clip: image (3, H, W) RGB 0..255 and classes (H, W) int64.

        Raises:
            ValueError: if the image is too small for DIS, its size differs from that of the map or of the previous frame, or the
                flow is NaN or infinite.
        """
        if self._previous is not None:
            earlier_image, earlier_map = self._previous
            backward, forward = (image_flow(*pair, _SHORT_SIDE) for pair in ((earlier_image, image), (image, earlier_image)))
            check_finite({"flow": backward[None], "reverse flow": forward[None]})
            self.metric.update(earlier_map, semantic_map, backward, forward)
        self._previous = (image, semantic_map)

    def end_clip(self) -> None:
        """End the clip: the next frame starts another."""
        self._previous = None
