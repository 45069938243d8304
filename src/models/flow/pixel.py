"""One learned flow for all segments: FlowNetS, and the pixel flow of a query network."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.models.flow.encoder import FlowEncoder, ImagePreparation
from src.models.flow.pixel_decoder import PixelFlowDecoder
from src.structures import FlowPrediction


class PixelFlow(FlowEstimator):
    """FlowNetS (Dosovitskiy et al. 2015): encoder and refinement of the ``QueryFlow``, without queries.

    Args:
        encoder_channels: channels of the six encoder stages.
        refine_channels: channels of the four refinement steps, coarse to fine; the default is FlowNetS's.
        input_mean: mean of R, G, B in 0..1.
        size_divisor: the padded image is a multiple of this; the segmentor's.
    """

    method_names: ClassVar[tuple[str, ...]] = ("pixel",)

    def __init__(
        self,
        encoder_channels: Sequence[int] = (64, 128, 256, 512, 512, 1024),
        refine_channels: Sequence[int] = (512, 256, 128, 64),
        input_mean: Sequence[float] = (0.411, 0.432, 0.450),
        size_divisor: int = 32,
    ) -> None:
        super().__init__(locals())
        self.size_divisor = size_divisor
        self.prepare = ImagePreparation(input_mean, size_divisor)
        self.encoder = FlowEncoder(encoder_channels)
        self.pixel_decoder = PixelFlowDecoder(list(encoder_channels)[:0:-1], refine_channels)

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return the finest pixel flow as segment_flow (B, 1, 2, Hp / 8, Wp / 8)."""
        padded = check_pair(key_image, nonkey_image, self.size_divisor)
        pixel_flows = self.pixel_decoder(self.encoder(self.prepare(nonkey_image, key_image)))
        return FlowPrediction(pixel_flows[-1][:, None], pixel_flows, padded)
