"""Interface of labelled-video datasets, and its implementation for frames and labels stored as image files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from src.data.integrity.issues import IssuePolicy
from src.files.images.label_png import LabelFormat
from src.files.images.readers import image_size, read_rgb
from src.structures import Clip, Size

Color = tuple[int, int, int]


class ClipDataset(Protocol):
    """Labelled videos of one split, as read by pair sampling, training and evaluation.

    Attributes:
        classes: K class names.
        chosen_colors: K colors that the user chose, RGB 0..255, ``None`` for a class without; empty without any.
        fps: frames per second within a clip.
        clips: videos of the split.
    """

    classes: tuple[str, ...]
    chosen_colors: tuple[Color | None, ...]
    fps: float
    clips: list[Clip]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """Read one frame as (3, H, W) uint8 RGB; with ``interleaved`` in the memory order of the decoder, else contiguous."""

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Read the label of one frame as (H, W) of ``dtype``: classes 0..K-1 or ``IGNORE_INDEX``."""

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """Read the ground-truth backward flow, (2, H, W) float32 in pixels, NaN if unknown or occluded; ``None`` without flow."""
        return None


@contextmanager
def naming_frame(dataset: ClipDataset, clip: int, frame: int) -> Iterator[None]:
    """Name the clip and the image in the message of a ``ValueError``."""
    try:
        yield
    except ValueError as error:
        name = dataset.clips[clip].name
        raise ValueError(f"clip {name}, frame {frame} ({dataset.clips[clip].images[frame].name}): {error}") from error


class SplitContent(NamedTuple):
    """Clips and classes of one split.

    Attributes:
        clips: videos as on disk, before exclusions.
        classes, fps, chosen_colors: see :class:`ClipDataset`.
        label_values: raw PNG value -> class or ``IGNORE_INDEX``; any other value in a file is an error.
        label_channel: channel of color PNGs that holds the class; ``None``: labels have one channel.
        label_colors: whether the color of a pixel gives its class (see :class:`LabelFormat`).
    """

    clips: Sequence[Clip]
    classes: Sequence[str]
    fps: float
    label_values: Mapping[int, int]
    label_channel: int | None = None
    label_colors: bool = False
    chosen_colors: Sequence[Color | None] = ()


class FileClips(ClipDataset):
    """Clips whose frames are image files and whose labels are PNG files.

    Attributes:
        part_of: split that contains the frames of this split by design, as for CamVid's ``val_part``.

    Args:
        content: clips and classes.
        policy: excludes listed files and videos.
        min_clip_length: minimum number of frames; shorter clips are left out.

    Raises:
        ValueError: if no clip is left.
    """

    part_of: str | None = None

    def __init__(self, content: SplitContent, policy: IssuePolicy | None = None, min_clip_length: int = 1) -> None:
        self.clips = (policy or IssuePolicy(Path())).apply(content.clips, min_clip_length)
        self.classes = tuple(content.classes)
        self.chosen_colors = tuple(content.chosen_colors)
        self.fps = content.fps
        self.label_format = LabelFormat(content.label_values, content.label_channel, content.label_colors)
        self._last_image: tuple[Path, Size] | None = None

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """Read one frame; errors as of :func:`src.files.images.readers.read_rgb`."""
        path = self.clips[clip].images[frame]
        image = read_rgb(path, interleaved)
        self._last_image = path, (image.shape[-2], image.shape[-1])
        return image

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Read the label of one frame.

        Raises:
            ValueError: if the frame has no label, the label differs from its image in size, or contains an undefined value.
        """
        image_path, label_path = self.clips[clip].images[frame], self.clips[clip].labels[frame]
        if label_path is None:
            raise ValueError(f"{image_path}: frame {frame} of clip {self.clips[clip].name} has no label")
        label = self.label_format.read(label_path)
        size, expected = (label.shape[0], label.shape[1]), self._image_size(image_path)
        if size != expected:
            turned = " as shown, turned by its EXIF orientation" if size == expected[::-1] else ""
            raise ValueError(
                f"{label_path} is {size[0]}x{size[1]} (HxW) but its image {image_path} is {expected[0]}x{expected[1]}{turned}"
            )
        return torch.from_numpy(label).to(dtype)

    def _image_size(self, path: Path) -> Size:
        """Return (H, W) of an image; pair building has just read it, so that its header is not read again."""
        return self._last_image[1] if self._last_image is not None and self._last_image[0] == path else image_size(path)
