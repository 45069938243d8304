"""Videos and pictures of several methods on a clip."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from PIL import Image
from torch import Tensor

from src.data.clips import ClipDataset
from src.inference.evaluation.progress import ProgressCallback, counted
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.step_result import PropagatedFrame, StepResult
from src.inference.streaming import StreamingSegmentor
from src.inference.video.writer import VideoWriter
from src.ops.masks import semantic_map
from src.ops.resize import resize_nearest, resize_partial_flow
from src.structures import MaskPrediction
from src.visualization.class_colors import class_palette
from src.visualization.palette import Palette, PaletteChoice
from src.visualization.panels import comparison_panel, pair_panel
from src.visualization.weights_panel import weights_panel


def write_comparison_video(
    streams: Mapping[str, StreamingSegmentor],
    dataset: ClipDataset,
    clip: int,
    path: str | Path,
    progress: ProgressCallback | None = None,
    choice: PaletteChoice = "names",
) -> None:
    """Write an mp4 of one clip: image, label and the overlay of every method, by title."""
    labelled = set(dataset.clips[clip].labelled_frames)
    every = range(len(dataset.clips[clip]))
    results = {name: stream.label_frames(_images(dataset, clip, every)) for name, stream in streams.items()}
    palette = class_palette(dataset.classes, dataset.chosen_colors, choice)
    with VideoWriter(path, fps=Fraction(dataset.fps).limit_denominator(1001)) as video:
        for frame in counted(range(len(dataset.clips[clip])), progress):
            image = dataset.read_image(clip, frame)
            label = dataset.read_label(clip, frame) if frame in labelled else None
            maps = {name: next(labelled_frames).semantic_map[0].cpu() for name, labelled_frames in results.items()}
            video.write(comparison_panel(image, label, maps, palette, dataset.classes))


def write_pictures(
    streams: Mapping[str, StreamingSegmentor],
    dataset: ClipDataset,
    folder: str | Path,
    offset: int,
    clips: int = 4,
    progress: ProgressCallback | None = None,
    choice: PaletteChoice = "names",
) -> list[Path]:
    """Write PNG files of one frame per clip, ``offset`` frames after its key frame.

    ``<clip>_<frame>.png`` contains the overlays of all methods, ``<clip>_<frame>_<method>.png`` the pair, the error map and the
    flow of each method that propagates masks, ``<clip>_<frame>_<method>_weights.png`` the weights of a frame that is fused from
    several key frames, with ``fuse_keys`` also those of its key frame. The schedulers of the streams are not used.

    Args:
        streams: streams of the methods by name.
        dataset: dataset of the clips.
        folder: created if missing; files of the same name are replaced.
        offset: frames from the key frame to the pictured frame; fewer in shorter clips.
        clips: number of clips, spread evenly over the dataset.
        progress: called after every clip.
        choice: colors of the classes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted({i * len(dataset.clips) // clips for i in range(clips)})
    palette = class_palette(dataset.classes, dataset.chosen_colors, choice)
    written: list[Path] = []
    for clip in counted(chosen, progress):
        written += _clip_pictures(streams, dataset, clip, offset, folder, palette)
    return written


def _clip_pictures(
    streams: Mapping[str, StreamingSegmentor], dataset: ClipDataset, clip: int, offset: int, folder: Path, palette: Palette
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
    place = dataset.clips[clip].name.replace("/", "_")
    pictures: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    for name, stream in streams.items():
        if name == "per_frame":
            maps[name] = _map(stream.segment_key(image[None])[0], image)
            continue
        if stream.propagator.recurrent:
            *_, last = stream.stream(_images(dataset, clip, range(nonkey + 1)))
            maps[name] = last.cpu()
            continue
        if stream.mode == "offline" or stream.fuse_keys:
            results = _around(stream, dataset, clip, key, offset + 1)
            maps[name] = results[nonkey].semantic_map[0].cpu()
            for frame in {key, nonkey} & set(dataset.clips[clip].labelled_frames):
                if results[frame].result.prediction.shares is not None:
                    stem = f"{place}_{frame:05d}_{name}_weights".replace(", ", "_").replace(" ", "_")
                    pictures[stem] = _weights(stream, dataset, clip, frame, results[frame].result, palette)
            continue
        _, state = stream.segment_key(key_image[None])
        result = stream.propagate(image[None], state)
        maps[name] = _map(result.prediction, image)
        shown, key_shown = stream.resize(image[None])[0].cpu(), state.image[0].cpu()
        size = (shown.shape[-2], shown.shape[-1])
        pictures[f"{place}_{nonkey:05d}_{name}"] = pair_panel(
            key_shown, shown, resize_nearest(label, size), result.prediction, result.flow,
            None if target is None else resize_partial_flow(target, size), palette, state.prediction,
        )  # fmt: skip
    pictures[f"{place}_{nonkey:05d}"] = comparison_panel(image, label, maps, palette, dataset.classes)
    paths = [folder / f"{name}.png" for name in sorted(pictures)]
    for path in paths:
        Image.fromarray(pictures[path.stem].permute(1, 2, 0).contiguous().numpy()).save(path)
    return paths


def _images(dataset: ClipDataset, clip: int, frames: Iterable[int]) -> Iterator[Tensor]:
    return (dataset.read_image(clip, frame)[None] for frame in frames)


def _around(stream: StreamingSegmentor, dataset: ClipDataset, clip: int, key: int, interval: int) -> dict[int, PropagatedFrame]:
    """Label the interval after a key frame, with the one before where the clip has it, up to the next key frame."""
    frames = range(key - interval if key >= interval else key, min(key + interval + 1, len(dataset.clips[clip])))
    fixed = stream.with_scheduler(FixedInterval(interval))
    return dict(zip(frames, fixed.label_frames(_images(dataset, clip, frames)), strict=True))


def _weights(
    stream: StreamingSegmentor, dataset: ClipDataset, clip: int, frame: int, result: StepResult, palette: Palette
) -> Tensor:
    def shown(number: int) -> Tensor:
        return stream.resize(dataset.read_image(clip, number)[None])[0].cpu()

    image, shares = shown(frame), result.prediction.shares
    assert shares is not None
    size = (image.shape[-2], image.shape[-1])
    return weights_panel(
        image,
        [(offset, shown(frame + offset)) for offset in result.offsets],
        shares[0].cpu(),
        result.semantic_map(size)[0].cpu(),
        resize_nearest(dataset.read_label(clip, frame), size),
        palette,
    )


def _map(prediction: MaskPrediction, image: Tensor) -> Tensor:
    return semantic_map(prediction, (image.shape[-2], image.shape[-1]))[0].cpu()
