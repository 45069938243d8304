"""Flow estimators: motion between two frames, one flow per query or one for all."""

from __future__ import annotations

from src.models.flow.base import FlowEstimator
from src.models.flow.copy import CopyFlow
from src.models.flow.correlation import CorrelationFlow, CorrelationPixelBranch
from src.models.flow.dis import DISFlow
from src.models.flow.pixel import PixelBranch, PixelFlow
from src.models.flow.query import QueryFlow
from src.models.flow.raft import RAFTFlow

FLOW_ESTIMATORS: dict[str, type[FlowEstimator]] = {
    "copy": CopyFlow,
    "correlation": CorrelationFlow,
    "dis": DISFlow,
    "pixel": PixelFlow,
    "query": QueryFlow,
    "raft": RAFTFlow,
}
"""Every estimator that can be built from its ``config()`` alone, by the name that configs and checkpoints use."""


def pixel_branch(flow: FlowEstimator) -> FlowEstimator:
    """An estimator's flow of the image as a whole, without what it knows of segments; weights are shared, not copied.

    Raises:
        ValueError: if it has no such flow that can be trained.
    """
    if isinstance(flow, PixelFlow | PixelBranch | CorrelationPixelBranch):
        return flow
    if isinstance(flow, QueryFlow):
        return PixelBranch(flow)
    if isinstance(flow, CorrelationFlow):
        return CorrelationPixelBranch(flow)
    raise ValueError(f"expected a PixelFlow, QueryFlow or CorrelationFlow; this one has a {type(flow).__name__}")


__all__ = [
    "FLOW_ESTIMATORS",
    "CopyFlow",
    "CorrelationFlow",
    "CorrelationPixelBranch",
    "DISFlow",
    "FlowEstimator",
    "PixelBranch",
    "PixelFlow",
    "QueryFlow",
    "RAFTFlow",
    "pixel_branch",
]
