"""Flow estimators: motion between two frames, one flow per query or one for all."""

from __future__ import annotations

from src.models.flow.base import FlowEstimator
from src.models.flow.copy import CopyFlow
from src.models.flow.correlation import CorrelationFlow, CorrelationPixelBranch
from src.models.flow.dis import DISFlow
from src.models.flow.pixel import PixelFlow
from src.models.flow.query import PixelBranch, QueryFlow
from src.models.flow.raft import RAFTFlow

FLOW_ESTIMATORS: dict[str, type[FlowEstimator]] = {
    "copy": CopyFlow,
    "dis": DISFlow,
    "pixel": PixelFlow,
    "query": QueryFlow,
    "correlation": CorrelationFlow,
    "raft": RAFTFlow,
}
"""Every estimator that can be built from its ``config()`` alone, by the name that configs and checkpoints use."""

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
]
