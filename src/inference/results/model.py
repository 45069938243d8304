"""Networks that label a video by one call."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from threading import Event
from typing import Any, Literal, Unpack, overload

from src.inference.flow_choice import names_and_colors
from src.inference.results.frame import FrameResult, Naming
from src.inference.results.sources import Source, open_input
from src.inference.results.streams import StreamOptions, chosen_mode, video_stream
from src.inference.results.video import VideoResult
from src.inference.scheduling.scheduler import FixedInterval, KeyFrameScheduler
from src.inference.step_result import LabelStream
from src.inference.streaming import Mode
from src.inference.video.live.latest import LiveFrames
from src.inference.video.pipeline import Producer
from src.inference.video.prediction import FramePredictor
from src.inference.video.sources import Frame, FrameSource, expect_frames, first_frames
from src.models.flow.base import FlowEstimator
from src.models.propagator import Propagator
from src.models.segmentors.base import KeyFrameSegmentor
from src.ops.warp import WarpGrid
from src.visualization.palette import PaletteChoice

log = logging.getLogger(__name__)


class VideoModel(Propagator):
    """Network with the metadata of its checkpoint, which labels a video by :meth:`predict`.

    Args:
        segmentor, flow, warp_grid, recurrent: see :class:`src.models.propagator.Propagator`.
        metadata: class names, colors and side of the network's input, as a checkpoint has them; none by default.
    """

    def __init__(
        self,
        segmentor: KeyFrameSegmentor,
        flow: FlowEstimator,
        warp_grid: WarpGrid = "exact",
        recurrent: bool = False,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(segmentor, flow, warp_grid, recurrent)
        self.metadata: dict[str, Any] = dict(metadata or {})

    @overload
    def predict(
        self, source: Source, key_interval: int = 5, mode: Literal["auto"] | Mode = "auto", stream: Literal[False] = False,
        scheduler: KeyFrameScheduler | None = None, max_frames: int | None = None, fps: Fraction | float = 25,
        palette: PaletteChoice = "names", keep_scores: bool = False, **options: Unpack[StreamOptions],
    ) -> VideoResult: ...  # fmt: skip

    @overload
    def predict(
        self, source: Source, key_interval: int = 5, mode: Literal["auto"] | Mode = "auto", *, stream: Literal[True],
        scheduler: KeyFrameScheduler | None = None, max_frames: int | None = None, fps: Fraction | float = 25,
        palette: PaletteChoice = "names", keep_scores: bool = False, **options: Unpack[StreamOptions],
    ) -> Iterator[FrameResult]: ...  # fmt: skip

    def predict(
        self,
        source: Source,
        key_interval: int = 5,
        mode: Literal["auto"] | Mode = "auto",
        stream: bool = False,
        scheduler: KeyFrameScheduler | None = None,
        max_frames: int | None = None,
        fps: Fraction | float = 25,
        palette: PaletteChoice = "names",
        keep_scores: bool = False,
        **options: Unpack[StreamOptions],
    ) -> VideoResult | Iterator[FrameResult]:
        """Label a video, as ``src.predict`` with the same options does, bit for bit. The network is left in eval mode.

        Args:
            source: path of a video, an image or a folder of images; number of a camera; a picture in memory: uint8 RGB of
                0..255 as a tensor (3, H, W), an array (H, W, 3) or a PIL image; a list or iterator of pictures, a tensor
                (T, 3, H, W) or an array (T, H, W, 3).
            key_interval: frames between key frames; 1: every frame is a key frame.
            mode: ``online``: from the key frames before, at once; ``offline``: from both neighboring key frames, one interval
                late; ``auto``: online for a camera, else offline.
            stream: yield each frame when it is labelled, in constant memory, instead of returning the whole video.
            scheduler: scheduler of key frames, instead of ``FixedInterval(key_interval)``.
            max_frames: maximum number of frames; ``None``: all.
            fps: frames per second of a folder and of frames in memory.
            palette: ``names``: the color of a class is that of its name; ``dataset``: that of the model.
            keep_scores: keep the masks in a :class:`VideoResult`, from which scores and confidence are computed: tens of MB per
                frame. With ``stream`` they are always there.
            options: ``flow``, ``dis_short_side``, ``fusion``, ``fuse_keys``, ``reset_at_cuts``, ``short_side``,
                ``max_long_side``, ``map_size``, ``autocast`` (a ``torch.dtype``), ``compile`` and ``runtime``, with the meaning
                and the defaults of ``conf/predict.yaml``.

        Returns:
            Result of the video, or with ``stream`` an iterator of the results of its frames.

        Raises:
            OSError: if the source cannot be opened.
            ValueError: if an option, the source or a frame is invalid, or no frame could be read.
        """
        opened = open_input(source, fps)
        is_live = isinstance(opened, LiveFrames)
        if is_live and not stream and max_frames is None:
            raise ValueError(f"source is {opened.info.name}, which has no end; expected stream=True, or max_frames")
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames is {max_frames}; expected at least 1, or None for all")
        chosen = chosen_mode(mode, options.get("flow", "auto"), is_live)
        labels = video_stream(self, self.metadata, scheduler or FixedInterval(key_interval), chosen, **options)
        classes, colors = names_and_colors(self.metadata, self.segmentor.num_classes, palette)
        naming = Naming(tuple(classes), tuple(colors))
        results = frame_results(labels, opened, naming, max_frames, stream or keep_scores)
        return results if stream else VideoResult(results, opened.info, opened.decode_errors)


def frame_results(
    stream: LabelStream, source: FrameSource, naming: Naming, max_frames: int | None, with_masks: bool
) -> Iterator[FrameResult]:
    """Yield the results of a source in constant memory; it is read ahead in a thread. Its decode errors are logged at the end.

    Raises:
        ValueError: if no frame could be read.
    """
    expect_frames(stream, source, max_frames)
    predictor, index = FramePredictor(stream, with_masks=with_masks), -1
    frames = first_frames(iter(source), max_frames)
    with _read_ahead(source, frames) as ready:
        for index, prediction in enumerate(predictor(ready)):
            yield FrameResult(index, prediction, naming)
            # The next frame is labelled without this one in memory.
            del prediction
    for error in source.decode_errors:
        log.error("%s", error)
    if index < 0:
        raise ValueError("; ".join(source.decode_errors) or f"{source.info.name} has no frame; expected at least one")


@contextmanager
def _read_ahead(source: FrameSource, frames: Iterator[Frame]) -> Iterator[Iterator[Frame]]:
    """Yield frames that a thread reads ahead; of a live source, each when it is taken, so that it is the newest one."""
    if isinstance(source, LiveFrames):
        yield frames
        return
    with Producer(frames, size=lambda frame: frame.image.nbytes) as produced:
        yield produced.until(Event())
