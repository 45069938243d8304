"""Prediction files in the layout of a VSPW submission, and their scores.

```
<folder>/<video>/<frame>.png    one channel, 8 bit, class numbers 0..K-1, named as the images
```
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from src.data.clips import ClipDataset, naming_frame
from src.files.atomic_write import atomic_path
from src.files.images.readers import read_label_png
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
            ValueError: if it cannot be decoded, has color channels or another size, or a class is out of range.
        """
        path = self.path(clip, frame)
        found = torch.from_numpy(read_label_png(path).astype(np.int64))
        if tuple(found.shape) != tuple(size):
            raise ValueError(
                f"{path} is {found.shape[0]}x{found.shape[1]} (HxW); expected {size[0]}x{size[1]}, the size of the frame's label"
            )
        self._check_classes(path, found)
        return found

    def check_complete(self) -> None:
        """Raise a ``FileNotFoundError`` if the folder or the file of a labelled frame is missing."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is not a folder; expected <video>/<frame>.png in it")
        wanted = [self.path(n, frame) for n, clip in enumerate(self.dataset.clips) for frame in clip.labelled_frames]
        missing = [path for path in wanted if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{missing[0]} does not exist; expected a prediction for every labelled frame of "
                f"{len(self.dataset.clips)} clips, but {len(missing)} of {len(wanted)} are missing"
            )

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
