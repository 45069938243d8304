"""Prediction of many videos, divided among several processes.

```
<output>/<video>/...     results of one video, and finished.json: its fingerprint, frames, errors, settings and files
<output>/summary.json    status of every video
```

A complete result of the same video, weights and settings is skipped when the command runs again.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from src.files.atomic_write import write_text
from src.files.results.fingerprint import fingerprint
from src.files.results.owned_folder import Scratch, output_lock
from src.files.results.result_marker import FINISHED, check_replaceable, read_json, read_marker
from src.inference.distributed import World
from src.inference.video.outputs import earlier_files
from src.inference.video.predictor import VideoPrediction
from src.inference.video.video_list import SUMMARY

log = logging.getLogger(__name__)

_EARLIER_SETTINGS = {"mode": "online", "fuse_keys": False, "sound": False}  # of releases without these options
_SUMMARY_FORMAT = "mpvss_summary"

Status = Literal["done", "damaged", "failed", "skipped", "interrupted"]
Predict = Callable[[Path, Path], VideoPrediction]
"""Function that predicts a video (first path) and writes the results to a new folder (second path)."""


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


def predict_videos(
    videos: Mapping[str, Path],
    output: Path,
    predict: Predict,
    settings: Mapping[str, Any],
    world: World,
    stop: threading.Event | None = None,
    overwrite: bool = False,
    names: Sequence[str] = (),
) -> list[VideoOutcome]:
    """Predict this process's share of the videos and continue after videos that cannot be read.

    The processes of ``world`` share the videos by file size; the first one holds the output folder and writes ``summary.json``.
    Results of another video, or of an earlier run with other ``settings``, plain values that results depend on, are refused.
    Once ``stop`` is set, no further video is started.

    Args:
        videos: videos by their names relative to ``output``, checked by :func:`src.files.results.output_names.check_names`.
        output: output folder.
        predict: predicts one video.
        settings: settings by name.
        world: processes that share the videos.
        stop: event that ends the run early.
        overwrite: whether to predict all videos again and replace their results.
        names: names of the outputs of one video.

    Returns:
        Outcomes of all processes, in the order of ``videos``; the same in every process.

    Raises:
        FileExistsError: if ``output`` is a file, or its ``summary.json`` is of another program.
        OSError: if another process predicts to ``output``.
    """
    with ExitStack() as stack:
        refused: list[OSError] = []
        if world.is_first:
            try:
                check_summary(output)
                stack.enter_context(output_lock(output))
            except OSError as error:
                refused.append(error)
        for first in world.gather(refused)[0]:
            raise first
        listed, outcomes = list(videos.items()), []
        for number in world.assign([video.stat().st_size if video.exists() else 0 for video in videos.values()]):
            name, video = listed[number]
            if stop is not None and stop.is_set():
                outcomes.append(VideoOutcome(name, "interrupted", 0, [], world.rank))
                continue
            outcome = _predict_one(name, video, output, predict, settings, world.rank, overwrite, names)
            outcomes.append(outcome)
            log.info("%s: %s", name, "; ".join([f"{outcome.status}, {outcome.frames} frames", *outcome.errors]))
        order = {name: number for number, name in enumerate(videos)}
        every = sorted((one for share in world.gather(outcomes) for one in share), key=lambda one: order[one.video])
        if world.is_first:
            write_text(output / SUMMARY, json.dumps(summary(every), indent=2) + "\n")
        return every


def check_summary(output: Path) -> None:
    """Refuse an output folder with a ``summary.json`` that is not of a batch."""
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; expected a folder")
    path, note = output / SUMMARY, read_json(output / SUMMARY)
    # Earlier releases wrote no format.
    if os.path.lexists(path) and note.get("format") != _SUMMARY_FORMAT and not {"videos", "frames", "outcomes"} <= note.keys():
        raise FileExistsError(f"{path} was not written by a prediction; expected no file of that name; choose another output")


def summary(outcomes: Sequence[VideoOutcome]) -> dict[str, Any]:
    """Return the number of videos and frames, the number of videos of each status, and all outcomes."""
    counts = {status: sum(one.status == status for one in outcomes) for status in get_args(Status)}
    frames = sum(one.frames for one in outcomes)
    return {
        "format": _SUMMARY_FORMAT,
        "videos": len(outcomes),
        "frames": frames,
        **counts,
        "outcomes": [asdict(one) for one in outcomes],
    }


def _predict_one(
    name: str,
    video: Path,
    output: Path,
    predict: Predict,
    settings: Mapping[str, Any],
    rank: int,
    overwrite: bool,
    names: Sequence[str],
) -> VideoOutcome:
    folder = output / name
    try:
        identity = {"video": str(video), "input": fingerprint(video), "settings": dict(settings)}
        found = None if overwrite else _existing(name, folder, identity, rank)
        if found is not None:
            return found
        check_replaceable(folder, names, overwrite, earlier_files)
        with Scratch(output, name, earlier_files) as scratch:
            result = predict(video, scratch.new)
            errors = result.decode_errors
            if result.stop_signal is not None:
                return VideoOutcome(name, "interrupted", 0, errors, rank)
            if not result.frames:
                return VideoOutcome(name, "failed", 0, errors or ["no frame"], rank)
            scratch.commit(identity | {"frames": result.frames, "errors": errors, "complete": True}, overwrite)
    # Errors of one video; any other exception is a bug and stops the run.
    except (OSError, ValueError) as error:
        return VideoOutcome(name, "failed", 0, [str(error)], rank)
    return VideoOutcome(name, "damaged" if errors else "done", result.frames, errors, rank)


def _existing(name: str, folder: Path, identity: Mapping[str, Any], rank: int) -> VideoOutcome | None:
    """Return ``skipped`` for a folder of the same video, weights and settings, ``None`` for no folder, else ``failed``."""
    marker = read_marker(folder, earlier_files)
    if marker is None:
        # A killed run of this folder leaves its hidden files.
        if not os.path.lexists(folder) or (folder.is_dir() and all(path.name.startswith(".mpvss.") for path in folder.iterdir())):
            return None
        return VideoOutcome(
            name, "failed", 0, [f"{folder} exists without a {FINISHED} of this project; choose another output"], rank
        )
    before, settings = _EARLIER_SETTINGS | marker.get("settings", {}), identity["settings"]
    changed = sorted(key for key in settings if before.get(key) != settings[key] and (key != "weights" or key in before))
    # Earlier releases noted no fingerprints.
    if "input" in marker and marker["input"] != identity["input"]:
        changed.insert(0, "video content")
    missing = [file for file in marker["files"] if not (folder / file).is_file()]
    if changed or missing or not marker.get("complete", True):
        kind = f"has results of another {', '.join(changed)}" if changed else "has incomplete results"
        return VideoOutcome(name, "failed", 0, [f"{folder} {kind}; choose another output or set overwrite=true"], rank)
    # Earlier revisions wrote the errors as "faults".
    return VideoOutcome(name, "skipped", marker["frames"], marker["errors" if "errors" in marker else "faults"], rank)
