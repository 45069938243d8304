"""Videos and pictures of several methods on a clip."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from PIL import Image
from torch import Tensor

from src.data.clips import ClipDataset
from src.inference.evaluation.progress import ProgressCallback, counted
from src.inference.streaming import StreamingSegmentor
from src.inference.video.writer import VideoWriter
from src.ops.masks import semantic_map
from src.ops.resize import resize_nearest, resize_partial_flow
from src.structures import KeyFrameState, MaskPrediction
from src.visualization.panels import comparison_panel, pair_panel


def write_comparison_video(
    streams: Mapping[str, StreamingSegmentor],
    dataset: ClipDataset,
    clip: int,
    path: str | Path,
    progress: ProgressCallback | None = None,
) -> None:
    """Write an mp4 of one clip: image, label and the overlay of every method, by title."""
    labelled = set(dataset.clips[clip].labelled_frames)
    states: dict[str, KeyFrameState | None] = dict.fromkeys(streams)
    with VideoWriter(path, fps=Fraction(dataset.fps).limit_denominator(1001)) as video:
        for frame in counted(range(len(dataset.clips[clip])), progress):
            image = dataset.read_image(clip, frame)
            label = dataset.read_label(clip, frame) if frame in labelled else None
            maps: dict[str, Tensor] = {}
            for name, stream in streams.items():
                labels, states[name] = stream.step(image[None], states[name])
                maps[name] = labels[0].cpu()
            video.write(comparison_panel(image, label, maps, dataset.palette, dataset.classes))


def write_pictures(
    streams: Mapping[str, StreamingSegmentor],
    dataset: ClipDataset,
    folder: str | Path,
    offset: int,
    clips: int = 4,
    progress: ProgressCallback | None = None,
) -> list[Path]:
    """Write PNG files of one frame per clip, ``offset`` frames after its key frame.

    ``<clip>_<frame>.png`` contains the overlays of all methods, ``<clip>_<frame>_<method>.png`` the pair, the error map and the
    flow of each method that propagates masks; the schedulers of the streams are not used.

    Args:
        streams: streams of the methods by name.
        dataset: dataset of the clips.
        folder: created if missing; files of the same name are replaced.
        offset: frames from the key frame to the pictured frame; fewer in shorter clips.
        clips: number of clips, spread evenly over the dataset.
        progress: called after every clip.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted({i * len(dataset.clips) // clips for i in range(clips)})
    written: list[Path] = []
    for clip in counted(chosen, progress):
        written += _clip_pictures(streams, dataset, clip, offset, folder)
    return written


def _clip_pictures(
    streams: Mapping[str, StreamingSegmentor], dataset: ClipDataset, clip: int, offset: int, folder: Path
) -> list[Path]:
    labelled = dataset.clips[clip].labelled_frames
    if not labelled:
        return []
    nonkey = min(labelled, key=lambda frame: abs(frame - len(dataset.clips[clip]) // 2))
    nonkey = nonkey if nonkey >= offset else labelled[-1]
    key = max(0, nonkey - offset)
    image, key_image = dataset.read_image(clip, nonkey), dataset.read_image(clip, key)
    label = dataset.read_label(clip, nonkey)
    target = dataset.read_flow(clip, nonkey, key) if nonkey != key else None
    stem = f"{dataset.clips[clip].name.replace('/', '_')}_{nonkey:05d}"
    pictures: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    for name, stream in streams.items():
        if name == "per_frame":
            maps[name] = _map(stream.segment_key(image[None])[0], image)
            continue
        _, state = stream.segment_key(key_image[None])
        result = stream.propagate(image[None], state)
        maps[name] = _map(result.prediction, image)
        shown, key_shown = stream.resize(image[None])[0].cpu(), state.image[0].cpu()
        size = (shown.shape[-2], shown.shape[-1])
        pictures[f"{stem}_{name}"] = pair_panel(
            key_shown, shown, resize_nearest(label, size), result.prediction, result.flow,
            None if target is None else resize_partial_flow(target, size), dataset.palette, state.prediction,
        )  # fmt: skip
    pictures[stem] = comparison_panel(image, label, maps, dataset.palette, dataset.classes)
    paths = [folder / f"{name}.png" for name in sorted(pictures)]
    for path in paths:
        Image.fromarray(pictures[path.stem].permute(1, 2, 0).contiguous().numpy()).save(path)
    return paths


def _map(prediction: MaskPrediction, image: Tensor) -> Tensor:
    return semantic_map(prediction, (image.shape[-2], image.shape[-1]))[0].cpu()
