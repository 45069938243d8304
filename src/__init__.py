"""Mask propagation for efficient video semantic segmentation: the public names, each imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.data.datasets.cityscapes import Cityscapes as Cityscapes
    from src.data.datasets.folder import FolderClips as FolderClips
    from src.data.datasets.vspw import VSPW as VSPW
    from src.inference.results.frame import FrameResult as FrameResult
    from src.inference.results.video import VideoResult as VideoResult
    from src.inference.scheduling.scheduler import FixedInterval as FixedInterval
    from src.inference.streaming import StreamingSegmentor as StreamingSegmentor
    from src.inference.video.decoder import read_video as read_video
    from src.inference.video.writer import VideoWriter as VideoWriter
    from src.metrics.iou import MeanIoU as MeanIoU
    from src.metrics.video_consistency import VideoConsistency as VideoConsistency
    from src.models.flow.base import FlowEstimator as FlowEstimator
    from src.models.flow.dis import DISFlow as DISFlow
    from src.pretrained import Propagator as Propagator
    from src.visualization.overlay import overlay as overlay
    from src.weights.checkpoints import load_checkpoint as load_checkpoint

_MODULES = {
    "load_checkpoint": "src.weights.checkpoints",
    "Propagator": "src.pretrained",
    "FrameResult": "src.inference.results.frame",
    "VideoResult": "src.inference.results.video",
    "StreamingSegmentor": "src.inference.streaming",
    "FixedInterval": "src.inference.scheduling.scheduler",
    "FlowEstimator": "src.models.flow.base",
    "DISFlow": "src.models.flow.dis",
    "read_video": "src.inference.video.decoder",
    "VideoWriter": "src.inference.video.writer",
    "overlay": "src.visualization.overlay",
    "MeanIoU": "src.metrics.iou",
    "VideoConsistency": "src.metrics.video_consistency",
    "FolderClips": "src.data.datasets.folder",
    "VSPW": "src.data.datasets.vspw",
    "Cityscapes": "src.data.datasets.cityscapes",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import src`` costs nothing.

    Raises:
        AttributeError: if the name is not public.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public are {', '.join(__all__)}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
