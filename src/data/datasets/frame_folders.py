"""Videos stored as folders of frames and labels: split lists, and frames matched with labels by file name."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.files.images.readers import natural_key
from src.files.suffixes import IMAGE_SUFFIXES, LABEL_SUFFIXES, is_hidden, left_out_line
from src.files.text import read_text
from src.structures import Clip

log = logging.getLogger(__name__)

Labelling = Literal["every_frame", "all_or_none", "any"]
"""Frames of a video that must have labels: all; all or none (withheld labels); or none."""


# Names of masks beside their frames: a frame called so, next to one without it, is taken for a mask.
_MASK_NAME = re.compile(r"(.+?)([._-]?(?:mask|label|labels|seg|gt|annotation))", re.IGNORECASE)


class FrameFolders(NamedTuple):
    """Files of a clip.

    Attributes:
        name: name of the clip.
        images, labels: folders of its frames and of its labels.
        mask_suffix: what the name of a label has beyond that of its frame; such labels may also be in the folder of frames.
    """

    name: str
    images: Path
    labels: Path
    mask_suffix: str = ""


def read_clips(videos: Sequence[FrameFolders], policy: IssuePolicy, labelling: Labelling) -> list[Clip]:
    """Read several videos, except excluded ones; see :func:`read_clip`. Files that are left out are one line in the log."""
    left_out: list[Path] = []
    clips = [read_clip(video, policy, labelling, left_out) for video in videos if not policy.excludes_video(video.name)]
    if left_out:
        log.warning("%s", left_out_line(policy.root, left_out))
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


def read_clip(video: FrameFolders, policy: IssuePolicy, labelling: Labelling, left_out: list[Path] | None = None) -> Clip | None:
    """Find the frames and labels of one video, in natural order of their names; numbers need not be consecutive.

    Args:
        video: folders of the video; the folder of labels may be missing if no frame must have a label.
        policy: receives frames without a label, labels without a frame or in a lossy format, and a video without frames.
        labelling: frames that must have a label.
        left_out: receives what is neither a frame nor a label.

    Returns:
        The clip, or ``None`` if it has no frames and issues are collected or excluded.
    """
    name, images, labels, suffix = video
    in_images, in_labels = _visible(images), _visible(labels)
    beside = [path for path in in_images if suffix and path.stem.endswith(suffix)]
    frames = _files_by_stem(
        [path for path in in_images if not (suffix and path.stem.endswith(suffix))], IMAGE_SUFFIXES, "", policy
    )
    masks = _files_by_stem([*in_labels, *beside], LABEL_SUFFIXES, suffix, policy)
    lossy_suffixes = set(IMAGE_SUFFIXES) - set(LABEL_SUFFIXES)
    alone = [path for path in (*in_labels, *beside) if path.stem.removesuffix(suffix) not in masks]
    lossy = [path for path in alone if path.suffix.lower() in lossy_suffixes]
    if left_out is not None:
        left_out += [path for path in in_images if path.suffix.lower() not in IMAGE_SUFFIXES]
        left_out += [path for path in in_labels if path.suffix.lower() not in LABEL_SUFFIXES and path not in lossy]
    needed = labelling == "every_frame" or (labelling == "all_or_none" and bool(masks))
    unlabelled = [image for stem, image in frames.items() if needed and stem not in masks]
    orphans = [mask for stem, mask in masks.items() if stem not in frames]
    # Exclusion lists contain the label's path in both cases.
    policy.report(
        *(DatasetIssue("lossy", path, f"{path} may be lossy; expected masks as PNG, TIFF or BMP") for path in lossy),
        *(
            DatasetIssue("unpaired", path := labels / f"{image.stem}{suffix}.png", f"{image} has no label; expected {path}")
            for image in unlabelled
        ),
        *(DatasetIssue("unpaired", mask, _orphan_message(mask, images, suffix, frames)) for mask in orphans),
        *(
            DatasetIssue("layout", image, f"{image} looks like a mask: {_ADVICE.format(frames[found[1]].name, found[2])}")
            for stem, image in frames.items()
            if (found := _MASK_NAME.fullmatch(stem)) and found[1] in frames
        ),
    )
    if not frames:
        policy.report(DatasetIssue("missing", images, f"{images} holds no frames; expected *.jpg or *.png", entry=name))
        return None
    return Clip(name, tuple(frames.values()), tuple(masks.get(stem) for stem in frames))


_ADVICE = "expected no mask of {} among the frames; set mask_suffix: {} in classes.yaml (data=folder), or move it"


def _orphan_message(mask: Path, images: Path, suffix: str, frames: Mapping[str, Path]) -> str:
    """Describe a mask without a frame; name the suffix that would pair it."""
    stem = mask.stem.removesuffix(suffix)
    found = _MASK_NAME.fullmatch(stem)
    hint = f"; set mask_suffix: {found[2]} in classes.yaml (data=folder)" if found and found[1] in frames else ""
    return f"{mask} has no image; expected {images / stem}.jpg{hint}"


def _visible(folder: Path) -> list[Path]:
    """Return the paths in a folder in natural order, without hidden ones (of archivers); none if it does not exist."""
    return sorted((path for path in folder.iterdir() if not is_hidden(path)), key=natural_key) if folder.is_dir() else []


def _files_by_stem(paths: Sequence[Path], suffixes: tuple[str, ...], end: str, policy: IssuePolicy) -> dict[str, Path]:
    """Map stems, without ``end``, to files; report a second file for the same stem."""
    files: dict[str, Path] = {}
    for path in (path for path in paths if path.suffix.lower() in suffixes):
        stem = path.stem.removesuffix(end)
        # An excluded file is replaced by another one of the same frame.
        if stem not in files or policy.excludes(files[stem]):
            files[stem] = path
            continue
        message = f"{path}: more than one file for the same frame; {files[stem].name} also exists; expected one"
        policy.report(DatasetIssue("duplicate", path, message))
    return files
