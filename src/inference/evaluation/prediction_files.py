"""Prediction files in the layout of a VSPW submission, or label videos, and their scores.

```
<folder>/<video>/<frame>.png    one channel, 8 bit, class numbers 0..K-1, named as the images
<folder>/<video>/labels.mkv     or: all frames of the clip, as ``exports=[label_video]`` of ``src.predict`` writes them
```
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from src.data.clips import ClipDataset, naming_frame
from src.files.atomic_write import atomic_path
from src.files.images.readers import read_label_png
from src.files.video.label_video import LABEL_VIDEO, count_frames, read_label_video
from src.inference.distributed import SINGLE, Share
from src.inference.evaluation.progress import FrameCounter, ProgressCallback
from src.inference.evaluation.scores import EvaluationResult, Scores
from src.inference.evaluation.warped_agreement import WarpedAgreement
from src.structures import IGNORE_INDEX, Clip, Size


class PredictionFolder:
    """The prediction files of a dataset's clips.

    Args:
        folder: contains one folder per clip, named as the clip.
        dataset: dataset of the predicted frames.

    Raises:
        ValueError: if a clip's name leads out of the folder, or two frames of a clip have the same file.
    """

    def __init__(self, folder: str | Path, dataset: ClipDataset) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self._files = [_clip_files(self.folder, clip) for clip in dataset.clips]
        self._video: _ClipVideo | None = None

    def path(self, clip: int, frame: int) -> Path:
        """Return the path of a frame's prediction."""
        return self._files[clip][frame]

    def write(self, clip: int, frame: int, semantic_map: Tensor) -> None:
        """Write the map (H, W) int64, 0..K-1 of one frame, complete or not at all; an existing file is replaced."""
        path = self.path(clip, frame)
        self._check_classes(path, semantic_map)
        with atomic_path(path) as unfinished:
            Image.fromarray(semantic_map.cpu().numpy().astype(np.uint8)).save(unfinished)

    def read(self, clip: int, frame: int, size: Size) -> Tensor:
        """Read one frame's map, (H, W) int64, 0..K-1.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if it cannot be decoded, has color channels or another size, a class is out of range, or a video has
                another number of frames than the clip.
        """
        path, video = self.path(clip, frame), self._video_path(clip)
        if path.is_file() or not video.is_file():
            labels = read_label_png(path)
        else:
            if self._video is None or self._video.path != video:
                self._video = _ClipVideo(video, len(self.dataset.clips[clip]))
            path, labels = video, self._video.read(frame)
        found = torch.from_numpy(labels.astype(np.int64))
        if tuple(found.shape) != tuple(size):
            raise ValueError(
                f"{path} is {found.shape[0]}x{found.shape[1]} (HxW); expected {size[0]}x{size[1]}, the size of the frame's label"
            )
        self._check_classes(path, found)
        return found

    def check_complete(self) -> None:
        """Raise a ``FileNotFoundError`` if the folder, or the file of a labelled frame of a clip without a video, is missing."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is not a folder; expected <video>/<frame>.png or <video>/{LABEL_VIDEO} in it")
        clips = [(n, clip) for n, clip in enumerate(self.dataset.clips) if not self._video_path(n).is_file()]
        wanted = [self.path(n, frame) for n, clip in clips for frame in clip.labelled_frames]
        missing = [path for path in wanted if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{missing[0]} does not exist; expected a prediction for every labelled frame of "
                f"{len(clips)} clips, but {len(missing)} of {len(wanted)} are missing"
            )

    def _video_path(self, clip: int) -> Path:
        return self.folder / self.dataset.clips[clip].name / LABEL_VIDEO

    def _check_classes(self, path: Path, semantic_map: Tensor) -> None:
        wrong = (semantic_map < 0) | (semantic_map >= self.dataset.num_classes)
        if self.dataset.num_classes == 1:  # its background
            wrong &= semantic_map != IGNORE_INDEX
        if wrong.any():
            values = torch.unique(semantic_map[wrong]).tolist()
            raise ValueError(
                f"{path}: class {', '.join(map(str, values[:5]))} ({int(wrong.sum())} pixels out of range); "
                f"expected 0..{self.dataset.num_classes - 1}"
            )


class _ClipVideo:
    """The label maps of a clip in a video, read in the order of the frames."""

    def __init__(self, path: Path, frames: int) -> None:
        found = count_frames(path)
        if found != frames:
            raise ValueError(f"{path} has {found} frames; expected {frames}, all frames of the clip")
        self.path, self._next = path, 0
        self._maps = self._from_start()

    def read(self, frame: int) -> NDArray[Any]:
        """Return the (H, W) labels of a frame; going back reads from the start."""
        if frame < self._next:
            self._next, self._maps = 0, self._from_start()
        for _ in range(frame - self._next):
            next(self._maps)
        self._next = frame + 1
        return next(self._maps)

    def _from_start(self) -> Iterator[NDArray[Any]]:
        return (each.labels for each in read_label_video(self.path))


def evaluate_predictions(
    predictions: PredictionFolder,
    progress: ProgressCallback | None = None,
    temporal_consistency: bool = False,
    share: Share[Scores] = SINGLE.share,
) -> EvaluationResult:
    """Score prediction files against the labels of their dataset, without key frames and times.

    ``temporal_consistency`` and ``share`` are those of :func:`src.inference.evaluation.clips.evaluate_streams`; the former also
    reads the images.

    Raises:
        FileNotFoundError: if a file is missing; checked before any is read.
        ValueError: if there is no labelled frame, or a file is invalid.
    """
    dataset = predictions.dataset
    total = sum(len(clip.labelled_frames) for clip in dataset.clips)
    if not total:
        raise ValueError(f"{type(dataset).__name__} has no labelled frame in its {len(dataset.clips)} clips; expected at least 1")
    predictions.check_complete()
    labelled = [len(clip.labelled_frames) for clip in dataset.clips]

    def score(mine: Sequence[int]) -> Scores:
        scores = Scores(dataset.num_classes)
        counter = FrameCounter(sum(labelled[clip] for clip in mine), progress)
        agreement = WarpedAgreement() if temporal_consistency else None
        for number in mine:
            before = -1
            for frame in dataset.clips[number].labelled_frames:
                if frame != before + 1:
                    _end_sequence(scores, agreement)
                label = dataset.read_label(number, frame)
                found = predictions.read(number, frame, (label.shape[0], label.shape[1]))
                scores.add_frame(found, label)
                if agreement is not None:
                    with naming_frame(dataset, number, frame):
                        agreement.add(dataset.read_image(number, frame), found)
                before = frame
                counter.advance()
            _end_sequence(scores, agreement)
        scores.end_run(None if agreement is None else agreement.metric)
        return scores

    return Scores.total(share(labelled, score, progress)).result(total)


def _end_sequence(scores: Scores, agreement: WarpedAgreement | None) -> None:
    scores.end_sequence()
    if agreement is not None:
        agreement.end_clip()


def _clip_files(folder: Path, clip: Clip) -> list[Path]:
    parts = PurePosixPath(clip.name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in clip.name or not parts.parts:
        raise ValueError(f"clip name is {clip.name!r}; expected the name of a folder in {folder}")
    files = [folder / parts / f"{image.stem}.png" for image in clip.images]
    if len(set(files)) != len(files):
        repeated = next(path for n, path in enumerate(files) if path in files[:n])
        raise ValueError(f"clip {clip.name}: two frames would be written to {repeated}; expected different image names")
    return files
