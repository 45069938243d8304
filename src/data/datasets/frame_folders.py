"""Videos stored as folders of frames and labels: split lists, and frames matched with labels by file name."""

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
"""Frames of a video that must have labels: all; all or none (withheld labels); or none."""


class FrameFolders(NamedTuple):
    """Name of a clip, and the folders of its frames and of its labels, which are named like the frames."""

    name: str
    images: Path
    labels: Path


def read_clips(videos: Sequence[FrameFolders], policy: IssuePolicy, labelling: Labelling) -> list[Clip]:
    """Read several videos, except excluded ones; see :func:`read_clip`."""
    clips = (read_clip(video, policy, labelling) for video in videos if not policy.excludes_video(video.name))
    return [clip for clip in clips if clip is not None]


def read_video_list(path: Path, image_folder: Callable[[str], Path], policy: IssuePolicy) -> list[str]:
    """Read the video names of a split list, in its order.

    Args:
        path: text file, one name per line; blank lines, any line ending and a byte order mark are accepted.
        image_folder: name -> expected folder of the video's frames.
        policy: receives entries that are not names, name no folder, or are listed before.

    Raises:
        FileNotFoundError: if the list does not exist, or by the policy.
        ValueError: if the list cannot be read or is empty, or by the policy.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a list of video names, one per line")
    seen: dict[str, int] = {}
    usable: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        location, first = f"{path}, line {number}", seen.setdefault(name, number)
        if policy.excludes_video(name):
            continue
        if name in (".", "..") or "/" in name or "\\" in name:
            message = f"{location}: {name!r} is not a video name; expected the name of a folder"
            policy.report(DatasetIssue("layout", path, message, entry=name))
        elif first != number:
            message = f"{location}: video {name!r} is already listed on line {first}"
            policy.report(DatasetIssue("duplicate", path, message, entry=name))
        elif not image_folder(name).is_dir():
            message = f"{location}: video {name!r} is missing; expected the folder {image_folder(name)}"
            policy.report(DatasetIssue("dangling", path, message, entry=name))
        else:
            usable.append(name)
    if not seen:
        raise ValueError(f"{path} lists no video; expected one name per line")
    return usable


def video_folders(folder: Path, policy: IssuePolicy) -> list[str]:
    """Return the names of all videos in a folder, in natural order.

    Raises:
        FileNotFoundError: if the folder contains no videos, unless issues are collected.
    """
    names = subfolders(folder)
    if not names and policy.issues is None:
        raise FileNotFoundError(f"{folder} holds no videos; expected a folder of frames for each")
    return names


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, in natural order; none if it does not exist."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path.name for path in sorted(paths, key=natural_key)]


def read_clip(video: FrameFolders, policy: IssuePolicy, labelling: Labelling) -> Clip | None:
    """Find the frames and labels of one video, in natural order of their names; numbers need not be consecutive.

    Args:
        video: folders of the video; the folder of labels may be missing if no frame must have a label.
        policy: receives frames without a label, labels without a frame, and a video without frames.
        labelling: frames that must have a label.

    Returns:
        The clip, or ``None`` if it has no frames and issues are collected or excluded.
    """
    name, images, labels = video
    frames = _files_by_stem(images, IMAGE_SUFFIXES, policy)
    masks = _files_by_stem(labels, LABEL_SUFFIXES, policy)
    needed = labelling == "every_frame" or (labelling == "all_or_none" and bool(masks))
    unlabelled = [image for stem, image in frames.items() if needed and stem not in masks]
    orphans = [mask for stem, mask in masks.items() if stem not in frames]
    # Exclusion lists contain the label's path in both cases.
    policy.report(
        *(
            DatasetIssue("unpaired", path := labels / f"{image.stem}.png", f"{image} has no label; expected {path}")
            for image in unlabelled
        ),
        *(DatasetIssue("unpaired", mask, f"{mask} has no image; expected {images / mask.stem}.jpg") for mask in orphans),
    )
    if not frames:
        policy.report(DatasetIssue("missing", images, f"{images} holds no frames; expected *.jpg or *.png", entry=name))
        return None
    return Clip(name, tuple(frames.values()), tuple(masks.get(stem) for stem in frames))


def _files_by_stem(folder: Path, suffixes: tuple[str, ...], policy: IssuePolicy) -> dict[str, Path]:
    """Map stems to files, in natural order; empty if the folder does not exist. Hidden files (of archivers) are ignored."""
    if not folder.is_dir():
        return {}
    paths = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    files: dict[str, Path] = {}
    for path in sorted(paths, key=natural_key):
        # An excluded file is replaced by another one of the same frame.
        if path.stem not in files or policy.excludes(files[path.stem]):
            files[path.stem] = path
            continue
        message = f"{path}: more than one file for the same frame; {files[path.stem].name} also exists; expected one"
        policy.report(DatasetIssue("duplicate", path, message))
    return files
