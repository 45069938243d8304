"""Measure memory during a long prediction.

    python scripts/memory_over_frames.py [--frames 10000] [--every 500] [--mode offline] [--network videomt] [--api]

A short clip is decoded repeatedly, predicted and encoded by the threads of ``python -m src.predict``, or labelled by
``model.predict(..., stream=True)`` with ``--api``. Prints the resident memory
and its private part; the rest are shared libraries, which the system may evict and reload. Exit code 1 if one of the two is more
than 2 % larger after the last frame than after frame 500 (Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from transformers import VideomtConfig, VideomtForUniversalSegmentation

# The package is not installed; it is in the parent folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.inference.methods import with_method
from src.inference.results.model import VideoModel
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode, StreamingSegmentor
from src.inference.video.decoder import VideoFrames
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import PredictionProgress, predict_video
from src.inference.video.sources import Frame
from src.inference.video.writer import VideoWriter
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.videomt import VideomtSegmentor
from src.visualization.class_colors import class_palette

SETTLED = 500  # frames after which all buffers are full
CLASSES = [f"class {k}" for k in range(11)]


class LoopedVideo:
    """Endless repetition of a video file, as one long video."""

    def __init__(self, path: Path) -> None:
        self._video = VideoFrames(path)
        self.info = self._video.info
        self.decode_errors: list[str] = []

    def stored_frames(self) -> None:
        return None

    def __iter__(self) -> Generator[Frame, None, None]:
        number, start = 0, self.info.time_base * 0
        while True:
            end = start
            for frame in self._video:
                yield frame._replace(name=f"{number:06d}", time=start + frame.time)
                number, end = number + 1, start + frame.time + frame.duration
            start = end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--mode", choices=get_args(Mode), default="online", help="offline also fuses key frames")
    parser.add_argument(
        "--network", choices=list(NETWORKS), default="mask2former", help="videomt: every frame, from the queries before"
    )
    parser.add_argument("--api", action="store_true", help="read the frames of model.predict instead")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    stream = NETWORKS[options.network](options.mode)
    memory: dict[int, tuple[float, float]] = {}

    def note(done: PredictionProgress) -> None:
        noted = done.frames % options.every == 0 or done.frames in (1, SETTLED, options.frames)
        # Progress is also reported for frames that wait.
        if noted and done.frames and done.frames not in memory:
            resident, private = memory[done.frames] = resident_and_private_mb()
            print(f"{done.frames:7d} frames  {resident:8.1f} MB, private {private:8.1f} MB  {done.fps:6.1f} fps", flush=True)

    with tempfile.TemporaryDirectory() as name:
        path = make_clip(Path(name) / "clip.mp4")
        source = LoopedVideo(path)
        if options.api:
            read_results(stream, source, options.frames, note)
            return report(memory, options.frames)
        with VideoOutputs(Path(name) / "out", source.info, CLASSES, class_palette(CLASSES), OutputOptions()) as outputs:
            predict_video(stream, source, outputs.write, max_frames=options.frames, progress=note)
            outputs.finish()
    return report(memory, options.frames)


def read_results(
    stream: StreamingSegmentor, source: LoopedVideo, frames: int, note: Callable[[PredictionProgress], None]
) -> None:
    network, started = stream.propagator, time.perf_counter()
    model = VideoModel(network.segmentor, network.flow)
    flow = "videomt" if network.recurrent else "own"
    for frame in model.predict(source, 5, stream.mode, stream=True, flow=flow, fuse_keys=stream.fuse_keys, max_frames=frames):
        assert frame.confidence.shape == frame.semantic_map.shape
        note(PredictionProgress(frame.index + 1, elapsed=time.perf_counter() - started))


def report(memory: dict[int, tuple[float, float]], frames: int) -> int:
    settled = SETTLED if SETTLED in memory else 1
    growth = [last / first - 1 for first, last in zip(memory[settled], memory[frames], strict=True)]
    print(f"from frame {settled} to {frames}: resident {growth[0]:+.2%}, private {growth[1]:+.2%}; limit +2 %")
    return int(max(growth) > 0.02)


def mask2former(mode: Mode) -> StreamingSegmentor:
    segmentor = Mask2FormerSegmentor.from_backbone(
        "tiny", len(CLASSES), num_queries=8, hidden_dim=32, feedforward_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        decoder_layers=1, num_heads=4, pretrained_backbone=False,
    )  # fmt: skip
    return StreamingSegmentor(Propagator(segmentor, DISFlow()), FixedInterval(5), mode=mode, fuse_keys=mode == "offline")


def videomt(mode: Mode) -> StreamingSegmentor:
    config = VideomtConfig(
        hidden_size=24, num_attention_heads=2, num_hidden_layers=4, num_blocks=2, num_queries=8, num_labels=len(CLASSES),
        mlp_ratio=2, patch_size=8, image_size=128, num_register_tokens=1, num_upscale_blocks=1,
    )  # fmt: skip
    network = VideomtSegmentor(VideomtForUniversalSegmentation(config))
    return StreamingSegmentor(with_method(Propagator(network, CopyFlow()), "videomt"), FixedInterval(1), mode=mode)


NETWORKS = {"mask2former": mask2former, "videomt": videomt}


def make_clip(path: Path) -> Path:
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (3, 12, 24), dtype=np.uint8), np.ones((1, 8, 8), np.uint8))
    with VideoWriter(path, 25) as video:
        for shift in range(48):
            video.write(torch.from_numpy(np.roll(picture, 3 * shift, axis=2)[..., :128].copy()))
    return path


def resident_and_private_mb() -> tuple[float, float]:
    """Return freed memory to the system, then return the resident memory and its private part, MB."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    _, resident, shared = map(int, Path("/proc/self/statm").read_text().split()[:3])
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    return resident * page, (resident - shared) * page


if __name__ == "__main__":
    sys.exit(main())
