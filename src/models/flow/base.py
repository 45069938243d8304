"""What every flow estimator is: two images and the key frame's queries in, motion out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from src.structures import FlowPrediction


class FlowEstimator(nn.Module, ABC):
    """Estimates the motion from a non-key frame back to its key frame.

    Convention:
        backward flow: stored at the non-key pixel, pointing to its source in the key frame, channel 0 right, channel 1 down, in
        pixels of its own grid. The grids cover the padded image, which is larger at the right and bottom only.

    Attributes:
        method_names: values of ``methods=`` and ``flow=`` that this estimator provides; the last one is the whole estimator.
        training_free: True where ``type(self)(size_divisor=...)`` works with any segmentor, without trained weights.
    """

    method_names: ClassVar[tuple[str, ...]] = ()
    training_free: ClassVar[bool] = False

    def for_method(self, name: str) -> FlowEstimator:
        """Return the part of this estimator that a method uses; weights are shared, not copied.

        Args:
            name: one of :attr:`method_names`.

        Raises:
            ValueError: if the estimator does not provide the method.
        """
        if name not in self.method_names:
            provided = ", ".join(self.method_names) or "none"
            raise ValueError(f"method is {name!r}; expected one that {type(self).__name__} provides: {provided}")
        return self

    def encode_key(self, key_image: Tensor) -> tuple[Tensor, ...] | None:
        """What an estimator that looks at each frame by itself needs of the key frame, so that it is made once.

        Args:
            key_image: (B, 3, H, W), RGB 0..255, unpadded.

        Returns:
            ``key_features`` for :meth:`forward`, which gives the same bits with and without them; ``None`` where there is
            nothing to keep.
        """
        return None

    @abstractmethod
    def forward(
        self, key_image: Tensor, nonkey_image: Tensor, queries: Tensor, key_features: tuple[Tensor, ...] | None = None
    ) -> FlowPrediction:
        """Estimate one flow per query, or one for all.

        Args:
            key_image: (B, 3, H, W), RGB 0..255, unpadded.
            nonkey_image: (B, 3, H, W), RGB 0..255, unpadded.
            queries: (B, Q, C), segment embeddings of the key frame.
            key_features: of :meth:`encode_key`, for the same key image.

        Returns:
            Flow of the pair; ``segment_flow`` has Q = 1 where the estimator does not look at the queries.

        Raises:
            ValueError: if the images or queries do not fit one another or the estimator.
        """

    def with_detail(self, flow: FlowPrediction) -> FlowPrediction:
        """Add what an estimator knows of single pixels, beyond the grid on which masks are carried; most know nothing.

        Apart from :meth:`forward`, as carrying masks does not need it.

        Args:
            flow: of :meth:`forward`.

        Returns:
            The same with ``detail``, for :func:`src.ops.warp.upsample_flow`.
        """
        return flow

    def branches(self) -> dict[str, nn.Module]:
        """Parts by name that not every stage teaches: ``visibility``, ``fill``, ``segments``, ``detail``. None by default."""
        return {}

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able: ``type(self)(**self.config())`` has the same layout."""


def check_pair(key_image: Tensor, nonkey_image: Tensor) -> None:
    """Refuse anything but two equally large batches of RGB images.

    Raises:
        ValueError: names both shapes.
    """
    shape = tuple(key_image.shape)
    if key_image.dim() != 4 or shape[1] != 3 or shape != tuple(nonkey_image.shape):
        raise ValueError(f"key_image {shape} and nonkey_image {tuple(nonkey_image.shape)}: expected two equal (B, 3, H, W)")
