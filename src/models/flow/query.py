"""The paper's flow estimator: one flow per query of the key frame."""

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from src.models.flow.base import FlowEstimator, Images, QueryEmbeddings, check_pair
from src.models.flow.encoder import FlowEncoder, ImagePreparation
from src.models.flow.pixel_decoder import PixelFlowDecoder
from src.models.flow.query_decoder import QueryDecoder
from src.models.flow.segment_head import FlowFusion, FuseInit, SegmentFlowHead
from src.ops.device import in_inference
from src.structures import FlowPrediction, Size

Queries = Literal["segmentor", "random"]


class QueryFlow(FlowEstimator):
    """Query-based flow (arXiv 2310.18954, section 3.2). The default widths are the paper's: 40.085 M parameters.

    Args:
        query_dim: width of the segmentor's queries; they are projected if it differs from ``hidden_dim``.
        num_queries: Q.
        encoder_channels: channels of the six encoder stages.
        hidden_dim: width of the query decoder.
        num_heads: attention heads of the query decoder.
        ffn_dim: hidden width of its feed-forward layers.
        decoder_layers: number of its layers; 0 passes the segmentor's queries on unchanged.
        refine_channels: channels of the four refinement steps of the pixel flow, coarse to fine.
        mlp_dim: hidden width of the two MLPs whose product is the query flow.
        fuse_init: initialisation of :class:`FlowFusion`.
        queries: ``segmentor`` starts from the key frame's queries. ``random`` is the paper's ablation: learned embeddings,
            initialised at random and equal for all images, so that a query's flow is independent of the segment it moves.
        input_mean: mean of R, G, B in 0..1.
        size_divisor: the padded image is a multiple of this; the segmentor's.
        fusion_dim: width of the fusion head; ``None``: no head.
    """

    method_names: ClassVar[tuple[str, ...]] = ("pixel", "query")
    reads_queries: ClassVar[bool] = True

    def __init__(
        self,
        query_dim: int = 256,
        num_queries: int = 100,
        encoder_channels: Sequence[int] = (64, 128, 256, 512, 512, 1024),
        hidden_dim: int = 256,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        decoder_layers: int = 9,
        refine_channels: Sequence[int] = (128, 128, 128, 64),
        mlp_dim: int = 512,
        fuse_init: FuseInit = "pixel",
        input_mean: Sequence[float] = (0.411, 0.432, 0.450),
        size_divisor: int = 32,
        queries: Queries = "segmentor",
        fusion_dim: int | None = None,
    ) -> None:
        super().__init__(locals())
        if queries not in get_args(Queries):
            raise ValueError(f"queries is {queries!r}; expected one of {', '.join(get_args(Queries))}")
        self.num_queries = num_queries
        self.query_dim = query_dim
        self.size_divisor = size_divisor
        self.prepare = ImagePreparation(input_mean, size_divisor)
        self.encoder = FlowEncoder(encoder_channels)
        # An unused projection would have no gradient, and DDP waits for every gradient.
        projected = queries == "segmentor" and query_dim != hidden_dim
        self.query_projection = nn.Linear(query_dim, hidden_dim) if projected else nn.Identity()
        coarse_to_fine = list(encoder_channels)[:0:-1]
        self.query_decoder = QueryDecoder(coarse_to_fine[:3], num_queries, hidden_dim, num_heads, ffn_dim, decoder_layers)
        self.pixel_decoder = PixelFlowDecoder([hidden_dim] * 3 + coarse_to_fine[3:], refine_channels)
        self.segment_head = SegmentFlowHead(hidden_dim, coarse_to_fine[-1], mlp_dim)
        self.fuse = FlowFusion(fuse_init)
        # Created last, so that one seed gives the other weights the same values for both kinds of queries.
        self.own_queries = nn.Embedding(num_queries, hidden_dim) if queries == "random" else None
        self.add_fusion_head(fusion_dim)

    def for_method(self, name: str) -> FlowEstimator:
        """Return the estimator itself, or for ``pixel`` its pixel flow."""
        return PixelBranch(self) if name == "pixel" else super().for_method(name)

    def encode_key(self, key_image: Images) -> tuple[Tensor, ...] | None:
        """Return the key image's share of the encoder's first convolution in inference mode; ``None`` otherwise."""
        return (self.encoder.key_half(self.prepare(key_image)),) if in_inference() else None

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return segment_flow (B, Q, 2, Hp / 8, Wp / 8) and five pixel flows from 1/128 to 1/8 of the padded image, float32."""
        features, padded = self.image_features(key_image, nonkey_image, key_features)
        queries, pixel_flows = self.image_flow(features, queries)
        segment_flow = self.fuse(pixel_flows[-1], self.segment_head(queries, features[-1]))
        return FlowPrediction(segment_flow, pixel_flows, padded)

    def image_features(
        self, key_image: Images, nonkey_image: Images, key_features: tuple[Tensor, ...] | None = None
    ) -> tuple[tuple[Tensor, ...], Size]:
        """Encode a pair: features coarse to fine, and (H, W) of the padded image. Arguments and errors: :meth:`forward`."""
        padded = check_pair(key_image, nonkey_image, self.size_divisor)
        cached = self.encode_key(key_image) if key_features is None else key_features
        if cached is None:
            return self.encoder(self.prepare(nonkey_image, key_image)), padded
        return self.encoder(self.prepare(nonkey_image), *cached), padded

    def image_flow(self, features: Sequence[Tensor], queries: QueryEmbeddings) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return updated queries (B, Q, hidden) and the pixel flows, coarse to fine, from the encoder's features.

        An estimator with learned queries does not read the values of ``queries``.

        Raises:
            ValueError: if the queries are not (B, num_queries, query_dim).
        """
        expected = (features[0].shape[0], self.num_queries, self.query_dim)
        if tuple(queries.shape) != expected:
            raise ValueError(f"queries are {tuple(queries.shape)}; this flow estimator expects (B, Q, C) = {expected}")
        own = self.own_queries
        start = self.query_projection(queries) if own is None else own.weight.expand(len(queries), -1, -1)
        queries, refined = self.query_decoder(start, features[:3])
        return queries, self.pixel_decoder((*refined, *features[3:]))


class PixelBranch(FlowEstimator):
    """Pixel flow of a :class:`QueryFlow` for all segments: the same weights without query flow and fusion.

    Args:
        query_flow: shared, not copied.
    """

    method_names: ClassVar[tuple[str, ...]] = ("pixel",)
    reads_queries: ClassVar[bool] = True

    def __init__(self, query_flow: QueryFlow) -> None:
        super().__init__({"query_flow": query_flow.config()})
        self.query_flow = query_flow
        self.fusion = query_flow.fusion

    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Return the finest pixel flow as segment_flow (B, 1, 2, Hp / 8, Wp / 8)."""
        features, padded = self.query_flow.image_features(key_image, nonkey_image)
        _, pixel_flows = self.query_flow.image_flow(features, queries)
        return FlowPrediction(pixel_flows[-1][:, None], pixel_flows, padded)
