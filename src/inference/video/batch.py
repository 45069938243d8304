"""Many videos, shared out to several processes, each video done once.

```
<output>/<video>/...            what one prediction writes, and finished.json: frames, faults, settings
<output>/.<video>.partial/      the same while it is being made; it is renamed when it is whole
<output>/summary.json           how every video ended
```

So a folder that is there is done, and is skipped when the command runs again.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from src.files.atomic_write import write_text
from src.files.images import natural_key
from src.files.suffixes import VIDEO_SUFFIXES
from src.inference.distributed import World
from src.inference.video.sources import is_image

log = logging.getLogger(__name__)

FINISHED, SUMMARY = "finished.json", "summary.json"

Ending = Literal["done", "broken", "failed", "skipped", "left"]


class VideoResult(Protocol):
    """What labelling one video gives.

    Attributes:
        frames: how many were labelled.
        faults: what was broken in it, in words.
        stopped: signal that ended it early, or ``None``.
    """

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def faults(self) -> list[str]: ...  # noqa: D102
    @property
    def stopped(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True)
class Outcome:
    """How one video ended.

    Attributes:
        video: its name below the output folder.
        ending: ``done``; ``broken``: what could be read is labelled; ``failed``: nothing is; ``skipped``: an earlier run did it;
            ``left``: the run was stopped before.
        frames: labelled, 0 where it is not known.
        faults: why it is broken or failed.
        rank: process that had it.
    """

    video: str
    ending: Ending
    frames: int
    faults: list[str]
    rank: int

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.ending in ("failed", "left") or bool(self.faults)


def list_videos(path: Path) -> dict[str, Path] | None:
    """The videos that a folder or a list names, by their names below the output folder; ``None`` if it is neither.

    A folder is one of videos if it holds some, at any depth, and no image; its videos keep their paths. A list is a ``.txt`` file
    with a path on each line, relative to the file; empty lines and those that begin with ``#`` are left out.

    Args:
        path: what the user named.

    Raises:
        ValueError: if a list is empty, or two videos would have the same output.
        FileNotFoundError: if a list names what does not exist.
    """
    if path.is_dir():
        # A folder of frames, VSPW's `origin` too, is a video of its own.
        if any(is_image(file) for folder in (path, path / "origin") if folder.is_dir() for file in folder.iterdir()):
            return None
        files = [file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
        named = [(file.relative_to(path).with_suffix(""), file) for file in files if not file.name.startswith(".")]
    elif path.suffix.lower() == ".txt" and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        listed = [path.parent / line for line in lines if line and not line.startswith("#")]
        missing = [file for file in listed if not file.exists()]
        if not listed or missing:
            found = f"{missing[0]} does not exist ({len(missing)} of {len(listed)})" if missing else "it names no video"
            raise (FileNotFoundError if missing else ValueError)(f"{path}: {found}; expected a path on each line")
        named = [(Path(file.stem), file) for file in listed]
    else:
        return None
    videos: dict[str, Path] = {}
    for name, file in sorted(named, key=lambda pair: natural_key(pair[1])):
        if name.as_posix() in videos:
            raise ValueError(f"{file} and {videos[name.as_posix()]} would both go to {name}: expected different names")
        videos[name.as_posix()] = file
    return videos or None


def label_videos(
    videos: Mapping[str, Path],
    output: Path,
    label: Callable[[Path, Path], VideoResult],
    settings: Mapping[str, Any],
    world: World,
    stop: threading.Event | None = None,
    overwrite: bool = False,
) -> list[Outcome]:
    """Label this process's share of the videos; one that cannot be read does not stop the rest.

    Args:
        videos: of :func:`list_videos`, all of them.
        output: folder of the outputs.
        label: labels one video file into one folder.
        settings: what the outputs depend on; plain values.
        world: processes that share the work, by the size of the files.
        stop: once set, no further video is begun.
        overwrite: whether what an earlier run finished is done again.

    Returns:
        Of every process's videos, in the order of the list; the same in all processes. The first has written ``summary.json``.
    """
    names = list(videos)
    sizes = [videos[name].stat().st_size for name in names]
    outcomes = []
    for number in world.assign(sizes):
        name = names[number]
        if stop is not None and stop.is_set():
            outcomes.append(Outcome(name, "left", 0, [], world.rank))
            continue
        outcome = _label_one(name, videos[name], output / name, label, settings, world.rank, overwrite)
        outcomes.append(outcome)
        log.info("%s: %s", name, "; ".join([f"{outcome.ending}, {outcome.frames} frames", *outcome.faults]))
    order = {name: number for number, name in enumerate(names)}
    every = sorted((one for share in world.gather(outcomes) for one in share), key=lambda one: order[one.video])
    if world.is_first:
        write_text(output / SUMMARY, json.dumps(summary(every), indent=2) + "\n")
    return every


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many videos ended how, and each of them."""
    counts = {ending: sum(one.ending == ending for one in outcomes) for ending in ("done", "broken", "failed", "skipped", "left")}
    frames = sum(one.frames for one in outcomes)
    return {"videos": len(outcomes), "frames": frames, **counts, "outcomes": [asdict(one) for one in outcomes]}


def _label_one(
    name: str,
    video: Path,
    folder: Path,
    label: Callable[[Path, Path], VideoResult],
    settings: Mapping[str, Any],
    rank: int,
    overwrite: bool,
) -> Outcome:
    if folder.exists() and not overwrite:
        return _skipped(name, folder, settings, rank)
    unfinished = folder.with_name(f".{folder.name}.partial")
    try:
        # Of an earlier run that was killed.
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        result = label(video, unfinished)
    # Whatever is wrong with one video; a fault of the program stops all.
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        return Outcome(name, "failed", 0, [str(error)], rank)
    if result.stopped is not None or not result.frames:
        shutil.rmtree(unfinished, ignore_errors=True)
        faults = result.faults or ([] if result.stopped is not None else ["no frame"])
        return Outcome(name, "failed" if result.stopped is None else "left", 0, faults, rank)
    note = {"video": str(video), "frames": result.frames, "faults": result.faults, "settings": dict(settings)}
    write_text(unfinished / FINISHED, json.dumps(note, indent=2) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
    return Outcome(name, "broken" if result.faults else "done", result.frames, result.faults, rank)


def _skipped(name: str, folder: Path, settings: Mapping[str, Any], rank: int) -> Outcome:
    """What is there may be of this command, of the same with other settings, or of something else."""
    advice = "name another output or set overwrite=true"
    if not (folder / FINISHED).is_file():
        return Outcome(name, "failed", 0, [f"{folder} exists and holds no {FINISHED}: {advice}"], rank)
    before = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
    changed = sorted(key for key in settings if before["settings"].get(key) != settings[key])
    if changed:
        return Outcome(name, "failed", 0, [f"{folder} was made with another {', '.join(changed)}: {advice}"], rank)
    return Outcome(name, "skipped", before["frames"], before["faults"], rank)
