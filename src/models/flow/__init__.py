"""Flow estimators: motion between two frames, one flow per query or one for all."""

from src.models.flow.base import FlowBranch, FlowEstimator
from src.models.flow.copy import CopyFlow
from src.models.flow.correlation import CorrelationFlow
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
"""Estimators that saved models can contain, by their name in configs and model folders."""

__all__ = [
    "FLOW_ESTIMATORS",
    "CopyFlow",
    "CorrelationFlow",
    "DISFlow",
    "FlowBranch",
    "FlowEstimator",
    "PixelBranch",
    "PixelFlow",
    "QueryFlow",
    "RAFTFlow",
]
