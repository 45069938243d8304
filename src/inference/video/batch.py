"""Prediction of many videos, divided among several processes.

```
<output>/<video>/...            results of one video, and finished.json: frames, errors, settings
<output>/.<video>.partial/      the same while the prediction runs; renamed when complete
<output>/summary.json           status of every video
```

An existing folder is complete and is skipped when the command runs again.
"""

import json
import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from src.files.atomic_write import write_text
from src.files.images import natural_key
from src.files.suffixes import VIDEO_SUFFIXES
from src.inference.distributed import World
from src.inference.video.predictor import VideoPrediction
from src.inference.video.sources import is_image

log = logging.getLogger(__name__)

FINISHED, SUMMARY = "finished.json", "summary.json"
_ADVICE = "choose another output or set overwrite=true"

Status = Literal["done", "damaged", "failed", "skipped", "interrupted"]
Predict = Callable[[Path, Path], VideoPrediction]
"""Function that predicts a video (first path) and writes the results to a folder (second path)."""


@dataclass(frozen=True)
class VideoOutcome:
    """Status of one video, named relative to the output folder, in the process of ``rank``.

    Attributes:
        status: ``done``; ``damaged``: results for the frames that could be decoded; ``failed``: no results; ``skipped``: done
            by an earlier run; ``interrupted``: the run was stopped before.
        frames: number of predicted frames, 0 where it is unknown.
        errors: reasons for ``damaged`` or ``failed``.
    """

    video: str
    status: Status
    frames: int
    errors: list[str]
    rank: int

    @property
    def needs_attention(self) -> bool:
        """True if the results are missing or incomplete."""
        return self.status in ("failed", "interrupted") or bool(self.errors)


def list_videos(path: Path) -> dict[str, Path] | None:
    """Return the videos of a folder or list by their names relative to the output folder; ``None`` if it is neither.

    A folder counts if it contains videos, at any depth, and no images; videos keep their relative paths. A list is a ``.txt``
    file with one path per line, relative to the list; empty lines and lines that begin with ``#`` are ignored.

    Raises:
        ValueError: if a list is empty, or two videos would have the same output.
        FileNotFoundError: if a list names a missing file.
    """
    if path.is_dir():
        # A folder of frames, also in VSPW's subfolder `origin`, is a single video.
        if any(is_image(file) for folder in (path, path / "origin") if folder.is_dir() for file in folder.iterdir()):
            return None
        files = [file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
        named = [(file.relative_to(path).with_suffix(""), file) for file in files if not file.name.startswith(".")]
    elif path.suffix.lower() == ".txt" and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        listed = [path.parent / line for line in lines if line and not line.startswith("#")]
        missing = [file for file in listed if not file.exists()]
        if missing:
            raise FileNotFoundError(
                f"{path}: {missing[0]} does not exist ({len(missing)} of {len(listed)} are missing); expected one path per line"
            )
        if not listed:
            raise ValueError(f"{path} lists no video; expected one path per line")
        named = [(Path(file.stem), file) for file in listed]
    else:
        return None
    videos: dict[str, Path] = {}
    for name, file in sorted(named, key=lambda pair: natural_key(pair[1])):
        if name.as_posix() in videos:
            raise ValueError(f"{file} and {videos[name.as_posix()]} have the same output {name}; expected different names")
        videos[name.as_posix()] = file
    return videos or None


def predict_videos(
    videos: Mapping[str, Path],
    output: Path,
    predict: Predict,
    settings: Mapping[str, Any],
    world: World,
    stop: threading.Event | None = None,
    overwrite: bool = False,
) -> list[VideoOutcome]:
    """Predict this process's share of the videos and continue after videos that cannot be read.

    The processes of ``world`` share the videos by file size; the first one writes ``summary.json``. Results of an earlier run
    with other ``settings``, plain values that results depend on, are refused. Once ``stop`` is set, no further video is started.

    Returns:
        Outcomes of all processes, in the order of ``videos``; the same in every process.
    """
    names = list(videos)
    sizes = [videos[name].stat().st_size for name in names]
    outcomes = []
    for number in world.assign(sizes):
        name = names[number]
        if stop is not None and stop.is_set():
            outcomes.append(VideoOutcome(name, "interrupted", 0, [], world.rank))
            continue
        outcome = _predict_one(name, videos[name], output / name, predict, settings, world.rank, overwrite)
        outcomes.append(outcome)
        log.info("%s: %s", name, "; ".join([f"{outcome.status}, {outcome.frames} frames", *outcome.errors]))
    order = {name: number for number, name in enumerate(names)}
    every = sorted((one for share in world.gather(outcomes) for one in share), key=lambda one: order[one.video])
    if world.is_first:
        write_text(output / SUMMARY, json.dumps(summary(every), indent=2) + "\n")
    return every


def summary(outcomes: Sequence[VideoOutcome]) -> dict[str, Any]:
    """Return the number of videos and frames, the number of videos of each status, and all outcomes."""
    counts = {status: sum(one.status == status for one in outcomes) for status in get_args(Status)}
    frames = sum(one.frames for one in outcomes)
    return {"videos": len(outcomes), "frames": frames, **counts, "outcomes": [asdict(one) for one in outcomes]}


def _predict_one(
    name: str, video: Path, folder: Path, predict: Predict, settings: Mapping[str, Any], rank: int, overwrite: bool
) -> VideoOutcome:
    if folder.exists() and not overwrite:
        return _existing(name, folder, settings, rank)
    unfinished = folder.with_name(f".{folder.name}.partial")
    try:
        # A killed run may have left its folder.
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        result = predict(video, unfinished)
    # Errors of one video; any other exception is a bug and stops the run.
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        return VideoOutcome(name, "failed", 0, [str(error)], rank)
    errors = result.decode_errors
    if result.stop_signal is not None or not result.frames:
        shutil.rmtree(unfinished, ignore_errors=True)
        if result.stop_signal is not None:
            return VideoOutcome(name, "interrupted", 0, errors, rank)
        return VideoOutcome(name, "failed", 0, errors or ["no frame"], rank)
    note = {"video": str(video), "frames": result.frames, "errors": errors, "settings": dict(settings)}
    write_text(unfinished / FINISHED, json.dumps(note, indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
    return VideoOutcome(name, "damaged" if errors else "done", result.frames, errors, rank)


def _existing(name: str, folder: Path, settings: Mapping[str, Any], rank: int) -> VideoOutcome:
    """Return ``skipped`` for a folder of the same settings, else ``failed``."""
    if not (folder / FINISHED).is_file():
        return VideoOutcome(name, "failed", 0, [f"{folder} exists without {FINISHED}; {_ADVICE}"], rank)
    note = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
    changed = sorted(key for key in settings if note["settings"].get(key) != settings[key])
    if changed:
        return VideoOutcome(name, "failed", 0, [f"{folder} has results of another {', '.join(changed)}; {_ADVICE}"], rank)
    # Earlier revisions wrote the errors as "faults".
    return VideoOutcome(name, "skipped", note["frames"], note["errors" if "errors" in note else "faults"], rank)
