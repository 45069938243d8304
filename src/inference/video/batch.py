"""Prediction of many videos, each whole or not at all.

```
<output>/<video>/...     results of one video, and finished.json: its fingerprint, frames, errors, settings and files
<output>/summary.json    status of every video
<output>/index.html      links to the reports of the videos, if they are requested
```

A complete result of the same video, weights and settings is skipped when the command runs again.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from src.files.atomic_write import write_text
from src.files.results.fingerprint import fingerprint
from src.files.results.owned_folder import Scratch, output_lock
from src.files.results.result_marker import FINISHED, RESULTS_FORMAT, check_replaceable, read_json, read_marker
from src.inference.video.outputs import earlier_files
from src.inference.video.predictor import VideoPrediction
from src.inference.video.quality.frames import REPORT
from src.inference.video.video_list import INDEX, SUMMARY
from src.visualization.report.index import IndexRow, index_page

log = logging.getLogger(__name__)

# Of releases without these options.
_EARLIER_SETTINGS: dict[str, Any] = {
    "mode": "online", "fuse_keys": False, "sound": False, "exports": [], "flicker": False, "confidence": False, "report": False,
    "max_seconds": None,
}  # fmt: skip
_SUMMARY_FORMAT = "mpvss_summary"

Status = Literal["done", "damaged", "failed", "skipped", "interrupted"]
Predict = Callable[[Path, Path], VideoPrediction]
"""Function that predicts a video (first path) and writes the results to a new folder (second path)."""


class Video(NamedTuple):
    """Video of a batch; its name is relative to the output folder."""

    name: str
    path: Path

    def __str__(self) -> str:
        return self.name

    @property
    def cost(self) -> int:
        """Size of the file, bytes, about proportional to the time that its prediction takes; 0 for a missing one."""
        return self.path.stat().st_size if self.path.exists() else 0


@dataclass(frozen=True)
class VideoOutcome:
    """Status of one video, named relative to the output folder.

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

    @property
    def needs_attention(self) -> bool:
        """True if the results are missing or incomplete."""
        return self.status in ("failed", "interrupted") or bool(self.errors)

    def __str__(self) -> str:
        return "; ".join([f"{self.video}: {self.status}, {self.frames} frames", *self.errors])


@dataclass(frozen=True)
class BatchPredictor:
    """Prediction of one video after the other, each into its own folder below ``output``.

    Results of another video, or of an earlier run with other ``settings``, are refused.

    Attributes:
        output: output folder, held by :func:`src.files.results.owned_folder.output_lock` in this or another process.
        predict: predicts one video.
        settings: plain values that the results depend on, by name.
        overwrite: whether to predict all videos again and replace their results.
        names: names of the outputs of one video.
    """

    output: Path
    predict: Predict
    settings: Mapping[str, Any]
    overwrite: bool = False
    names: Sequence[str] = ()

    def __call__(self, video: Video) -> VideoOutcome:
        """Predict a video, whole or not at all; errors of the video are its outcome."""
        name, folder = video.name, self.output / video.name
        try:
            identity = {"video": str(video.path), "input": fingerprint(video.path), "settings": dict(self.settings)}
            found = None if self.overwrite else _existing(name, folder, identity)
            if found is not None:
                return found
            check_replaceable(folder, self.names, self.overwrite, earlier_files)
            with Scratch(self.output, name, earlier_files) as scratch:
                result = self.predict(video.path, scratch.new)
                errors = result.decode_errors
                if result.stop_signal is not None:
                    return VideoOutcome(name, "interrupted", 0, errors)
                if not result.frames:
                    return VideoOutcome(name, "failed", 0, errors or ["no frame"])
                scratch.commit(identity | {"frames": result.frames, "errors": errors, "complete": True}, self.overwrite)
        # Errors of one video; any other exception is a bug.
        except (OSError, ValueError) as error:
            return VideoOutcome(name, "failed", 0, [str(error)])
        return VideoOutcome(name, "damaged" if errors else "done", result.frames, errors)


def predict_videos(
    videos: Mapping[str, Path],
    output: Path,
    predict: Callable[[Sequence[Video]], Iterable[tuple[Video, Any]]],
    with_index: bool = False,
) -> list[VideoOutcome]:
    """Predict videos, and write ``summary.json`` with the outcome of each.

    Args:
        videos: videos by their names relative to ``output``, checked by :func:`src.files.results.output_names.check_names`.
        output: output folder, which is held meanwhile.
        predict: yields every video that it finishes with its outcome or exception, in any order.
        with_index: whether to write ``index.html`` too.

    Returns:
        Outcomes in the order of ``videos``; those that ``predict`` leaves out are ``interrupted``.

    Raises:
        FileExistsError: if ``output`` is a file, or its ``summary.json`` or ``index.html`` is of another program.
        OSError: if another process predicts to ``output``.
    """
    check_summary(output)
    if with_index:
        _check_index(output / INDEX)
    with output_lock(output):
        outcomes = {name: VideoOutcome(name, "interrupted", 0, []) for name in videos}
        for video, result in predict([Video(*one) for one in videos.items()]):
            if isinstance(result, Exception):
                log.error("%s", video, exc_info=result)
                result = VideoOutcome(video.name, "failed", 0, [str(result) or type(result).__name__])
            outcomes[video.name] = result
            log.info("%s", result)
        every = list(outcomes.values())
        write_text(output / SUMMARY, json.dumps(summary(every), indent=2) + "\n")
        if with_index:
            write_text(output / INDEX, _index(output, every))
        return every


def check_summary(output: Path) -> None:
    """Refuse an output folder with a ``summary.json`` that is not of a batch."""
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; expected a folder")
    path, note = output / SUMMARY, read_json(output / SUMMARY)
    # Earlier releases wrote no format.
    if os.path.lexists(path) and note.get("format") != _SUMMARY_FORMAT and not {"videos", "frames", "outcomes"} <= note.keys():
        raise FileExistsError(f"{path} was not written by a prediction; expected no file of that name; choose another output")


def _check_index(path: Path) -> None:
    is_ours = path.is_file() and RESULTS_FORMAT in path.read_text(encoding="utf-8", errors="replace")
    if os.path.lexists(path) and not is_ours:
        raise FileExistsError(f"{path} was not written by a prediction; expected no file of that name; choose another output")


def _index(output: Path, outcomes: Sequence[VideoOutcome]) -> str:
    rows = [
        IndexRow(
            one.video,
            "; ".join([one.status, *one.errors]),
            one.frames,
            f"{one.video}/{REPORT}" if (output / one.video / REPORT).is_file() else None,
        )
        for one in outcomes
    ]
    page = index_page(output.name, rows)
    # File names may have bytes that are no text.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


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


def _existing(name: str, folder: Path, identity: Mapping[str, Any]) -> VideoOutcome | None:
    """Return ``skipped`` for a folder of the same video, weights and settings, ``None`` for no folder, else ``failed``."""
    marker = read_marker(folder, earlier_files)
    if marker is None:
        # A killed run of this folder leaves its hidden files.
        if not os.path.lexists(folder) or (folder.is_dir() and all(path.name.startswith(".mpvss.") for path in folder.iterdir())):
            return None
        return VideoOutcome(name, "failed", 0, [f"{folder} exists without a {FINISHED} of this project; choose another output"])
    before, settings = _EARLIER_SETTINGS | marker.get("settings", {}), identity["settings"]
    changed = sorted(key for key in settings if before.get(key) != settings[key] and (key != "weights" or key in before))
    # Earlier releases noted no fingerprints.
    if "input" in marker and marker["input"] != identity["input"]:
        changed.insert(0, "video content")
    missing = [file for file in marker["files"] if not (folder / file).is_file()]
    if changed or missing or not marker.get("complete", True):
        kind = f"has results of another {', '.join(changed)}" if changed else "has incomplete results"
        return VideoOutcome(name, "failed", 0, [f"{folder} {kind}; choose another output or set overwrite=true"])
    # Earlier revisions wrote the errors as "faults".
    return VideoOutcome(name, "skipped", marker["frames"], marker["errors" if "errors" in marker else "faults"])
