"""Base class of all flow estimators: two images and the key frame's queries in, motion out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from jaxtyping import Float, Num
from torch import Tensor, nn

from src.models.flow.fusion_head import FusionHead
from src.ops.padding import padded_size
from src.structures import FlowPrediction, Size

Images = Num[Tensor, "B 3 H W"]
"""RGB 0..255, unpadded."""
QueryEmbeddings = Float[Tensor, "_ Q C"]
"""Segment embeddings of the key frame; estimators that do not read them accept any batch."""


class FlowBranch(StrEnum):
    """Parts of a flow estimator that only some training stages supervise; the others freeze them."""

    VISIBILITY = "visibility"
    """Confidence that a non-key pixel is visible in the key frame."""
    DISOCCLUSION = "disocclusion"
    """Classes of what becomes visible."""
    DETAIL = "detail"
    """Flow of every pixel, beyond the grid on which masks are warped."""
    FUSION = "fusion"
    """Weight of a carried prediction beside others."""


class FlowEstimator(nn.Module, ABC):
    """Estimator of the motion from a non-key frame back to its key frame.

    Convention:
        backward flow: stored at the non-key pixel, pointing to its source in the key frame, channel 0 right, channel 1 down, in
        pixels of its own grid. The grids cover the padded image; padding is at the right and bottom only.

    Attributes:
        method_names: values of ``methods=`` and ``flow=`` that this estimator provides; of a trained estimator the last one is
            the whole.
        training_free: True where ``type(self)(size_divisor=...)`` works with any segmentor, without trained weights.
        reads_queries: True where the flow depends on the queries; other estimators accept any tensor of queries.
        has_confidence: True where the predictions have a confidence, which the fusion head reads.
        fusion: weighs what this flow carries beside other predictions (rule ``learned``); ``None``: no such head.
    """

    method_names: ClassVar[tuple[str, ...]] = ()
    training_free: ClassVar[bool] = False
    reads_queries: ClassVar[bool] = False
    has_confidence: ClassVar[bool] = False

    def __init__(self, arguments: Mapping[str, Any] | None = None) -> None:
        """Keep the subclass's constructor arguments, its ``locals()`` before it binds any other name, for :meth:`config`."""
        super().__init__()
        skipped = ("self", "__class__")
        self._config = {name: _as_lists(value) for name, value in (arguments or {}).items() if name not in skipped}
        self.fusion: FusionHead | None = None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, JSON-able: ``type(self)(**self.config())`` has the same layout."""
        return dict(self._config)

    def for_method(self, name: str) -> FlowEstimator:
        """Return the part of this estimator that a method uses; weights are shared, not copied.

        Raises:
            ValueError: if ``name`` is not one of :attr:`method_names`.
        """
        if name not in self.method_names:
            provided = ", ".join(self.method_names) or "none"
            raise ValueError(f"method is {name!r}; expected one that {type(self).__name__} provides: {provided}")
        return self

    def encode_key(self, key_image: Images) -> tuple[Tensor, ...] | None:
        """Compute the key frame's features for :meth:`forward`, which returns the same bits without them; ``None``: no cache."""
        return None

    @abstractmethod
    def forward(
        self, key_image: Images, nonkey_image: Images, queries: QueryEmbeddings, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Estimate one flow per query, or one for all.

        Args:
            key_image: (B, 3, H, W), RGB 0..255, unpadded.
            nonkey_image: image of the same size.
            queries: (B, Q, C), segment embeddings of the key frame.
            key_features: result of :meth:`encode_key` for the same key image; computed here by default.

        Returns:
            Flow of the pair; ``segment_flow`` has Q = 1 where the estimator does not read the queries.

        Raises:
            ValueError: if the images or queries do not fit one another or the estimator.
        """

    def with_detail(self, flow: FlowPrediction) -> FlowPrediction:
        """Add ``detail``, for :func:`src.ops.warp.upsample_flow`, to a result of :meth:`forward`; the default adds nothing.

        Separate from :meth:`forward`, because warping masks does not need it.
        """
        return flow

    def add_fusion_head(self, width: int | None) -> None:
        """Add a fresh :class:`FusionHead`, as the constructor does; ``None`` adds nothing.

        Raises:
            ValueError: if this estimator has no option ``fusion_dim``.
        """
        if width is None:
            return
        if "fusion_dim" not in self._config:
            raise ValueError(
                f"flow is a {type(self).__name__}; expected dis, query, correlation or raft, which can have a fusion head"
            )
        self._config["fusion_dim"] = width
        self.fusion = FusionHead(width, int(self.has_confidence))

    def branches(self) -> dict[FlowBranch, nn.Module]:
        """Return the parts that exist and that not every training stage supervises."""
        parts = {branch: getattr(self, branch, None) for branch in FlowBranch}
        return {branch: part for branch, part in parts.items() if part is not None}


def check_pair(key_image: Tensor, nonkey_image: Tensor, size_divisor: int) -> Size:
    """Return (H, W) of the images padded to multiples of ``size_divisor``.

    Raises:
        ValueError: if the shapes differ or are not (B, 3, H, W).
    """
    shape = tuple(key_image.shape)
    if key_image.dim() != 4 or shape[1] != 3 or shape != tuple(nonkey_image.shape):
        raise ValueError(f"key_image is {shape} and nonkey_image {tuple(nonkey_image.shape)}; expected two equal (B, 3, H, W)")
    return padded_size((shape[2], shape[3]), size_divisor)


def _as_lists(value: Any) -> Any:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return [_as_lists(item) for item in value] if is_list else value
