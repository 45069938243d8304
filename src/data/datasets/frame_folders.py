"""Videos as folders of frames: lists that name them, and the frames and labels in them, matched by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.files.images import natural_key
from src.files.text import read_text
from src.structures import Clip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LABEL_SUFFIXES = (".png",)

Labelling = Literal["every_frame", "all_or_none", "any"]
"""Which frames of a video have labels: all; all or, where they are withheld, none; or whichever have one."""


class FrameFolders(NamedTuple):
    """Where a video is.

    Attributes:
        name: of the clip.
        images: folder of its frames.
        labels: folder of its labels, named like the frames.
    """

    name: str
    images: Path
    labels: Path


def read_clips(videos: Sequence[FrameFolders], policy: IssuePolicy, labelling: Labelling) -> list[Clip]:
    """The clips of several videos; see :func:`read_clip`."""
    clips = (read_clip(video, policy, labelling) for video in videos if not policy.excludes_video(video.name))
    return [clip for clip in clips if clip is not None]


def read_video_list(path: Path, image_folder: Callable[[str], Path], policy: IssuePolicy) -> list[str]:
    """The videos that a split list names, in its order.

    Args:
        path: text file, one name a line; blank lines, any line ending and a byte order mark are fine.
        image_folder: where the frames of a video should be.
        policy: told of entries that are no name, name no folder, or are listed before.

    Raises:
        FileNotFoundError: if there is no list, or as the policy says.
        ValueError: if it cannot be read or is empty, or as the policy says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a list of video names, one a line")
    seen: dict[str, int] = {}
    usable: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        where, first = f"{path}, line {number}", seen.setdefault(name, number)
        if policy.excludes_video(name):
            continue
        if name in (".", "..") or "/" in name or "\\" in name:
            message = f"{where}: {name!r} is not a video name; expected the name of a folder"
            policy.report(DatasetIssue("layout", path, message, entry=name))
        elif first != number:
            policy.report(
                DatasetIssue("duplicate", path, f"{where}: video {name!r} is already listed on line {first}", entry=name)
            )
        elif not image_folder(name).is_dir():
            message = f"{where}: video {name!r} is missing; expected the folder {image_folder(name)}"
            policy.report(DatasetIssue("dangling", path, message, entry=name))
        else:
            usable.append(name)
    if not seen:
        raise ValueError(f"{path} lists no video; expected one name a line")
    return usable


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in time order; none where it does not exist."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path.name for path in sorted(paths, key=natural_key)]


def read_clip(video: FrameFolders, policy: IssuePolicy, labelling: Labelling) -> Clip | None:
    """One video: its frames in the order of their names, which need not be consecutive.

    Args:
        video: where it is; the folder of labels may be missing where there need be none.
        policy: told of frames without a label, labels without a frame, and a video without frames.
        labelling: which frames must have a label.

    Returns:
        The clip, or ``None`` if it has no frames and the policy lets that pass.
    """
    name, images, labels = video
    frames = _files_by_stem(images, IMAGE_SUFFIXES, policy)
    masks = _files_by_stem(labels, LABEL_SUFFIXES, policy)
    needed = labelling == "every_frame" or (labelling == "all_or_none" and bool(masks))
    unlabelled = [image for stem, image in frames.items() if needed and stem not in masks]
    orphans = [mask for stem, mask in masks.items() if stem not in frames]
    policy.report(
        *(_unpaired(path := labels / f"{image.stem}.png", f"{image} has no label; expected {path}") for image in unlabelled),
        *(_unpaired(mask, f"{mask} has no image; expected {images / mask.stem}.jpg") for mask in orphans),
    )
    if not frames:
        policy.report(DatasetIssue("missing", images, f"{images} holds no frames; expected *.jpg or *.png", entry=name))
        return None
    return Clip(name, tuple(frames.values()), tuple(masks.get(stem) for stem in frames))


def _unpaired(path: Path, message: str) -> DatasetIssue:
    """``path`` is what exclusion lists name: a label that is to be done without, or is of no use."""
    return DatasetIssue("unpaired", path, message)


def _files_by_stem(folder: Path, suffixes: tuple[str, ...], policy: IssuePolicy) -> dict[str, Path]:
    """Files in time order; a folder that does not exist is an empty one. Hidden files (archive droppings) are passed over."""
    if not folder.is_dir():
        return {}
    paths = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    files: dict[str, Path] = {}
    for path in sorted(paths, key=natural_key):
        # An excluded file makes way for another of the same frame.
        if path.stem not in files or policy.excludes(files[path.stem]):
            files[path.stem] = path
            continue
        message = f"{path}: more than one file for the same frame: there is {files[path.stem].name} too; expected one"
        policy.report(DatasetIssue("duplicate", path, message))
    return files
