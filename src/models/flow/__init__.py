"""Flow estimators: motion between two frames, one flow per query or one for all."""

from __future__ import annotations

from src.models.flow.base import FlowEstimator
from src.models.flow.dis import DISFlow
from src.models.flow.pixel import PixelBranch, PixelFlow
from src.models.flow.plain import CopyFlow
from src.models.flow.query import QueryFlow
from src.models.flow.raft import RAFTFlow

FLOW_ESTIMATORS: dict[str, type[FlowEstimator]] = {
    "copy": CopyFlow,
    "dis": DISFlow,
    "pixel": PixelFlow,
    "query": QueryFlow,
    "raft": RAFTFlow,
}
"""Every estimator that can be built from its ``config()`` alone, by the name that configs and checkpoints use."""

__all__ = ["FLOW_ESTIMATORS", "CopyFlow", "DISFlow", "FlowEstimator", "PixelBranch", "PixelFlow", "QueryFlow", "RAFTFlow"]
