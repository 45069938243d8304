"""A dataset under the class names of another: what a model trained on one is scored with on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.data.clips import ClipDataset, Color
from src.data.datasets.palette import distinct_palette
from src.structures import IGNORE_INDEX, Clip


class RemappedClasses:
    """The clips of a dataset, their labels translated; classes that have no counterpart are ignored.

    Scores are then over the classes that both know. A model may still predict the others, which counts as wrong.

    Args:
        dataset: where the clips come from.
        classes: the K names to translate to, in the order of the model.
        names: class of ``dataset`` -> class of ``classes``; several may share one.
        palette: K colors; default distinct ones.

    Raises:
        ValueError: if ``names`` has a class that is not in ``dataset`` or not in ``classes``, or maps nothing.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        classes: Sequence[str],
        names: Mapping[str, str],
        palette: Sequence[Color] | None = None,
    ) -> None:
        unknown = sorted(set(names) - set(dataset.classes)) + sorted(set(names.values()) - set(classes))
        if unknown or not names:
            raise ValueError(
                f"no such class: {', '.join(unknown) or 'none is mapped'}; the data has {', '.join(dataset.classes)}, "
                f"to be named {', '.join(classes)}"
            )
        if palette is not None and len(palette) != len(classes):
            raise ValueError(f"{len(classes)} classes but {len(palette)} palette colors; expected one each")
        self.dataset = dataset
        self.classes = tuple(classes)
        self.palette: tuple[Color, ...] = tuple(palette or distinct_palette(len(classes)))
        self.fps = dataset.fps
        # One lookup translates a label: 256 entries, IGNORE_INDEX included.
        self._table = torch.full((256,), IGNORE_INDEX, dtype=torch.int64)
        for source, target in names.items():
            self._table[dataset.classes.index(source)] = self.classes.index(target)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def clips(self) -> list[Clip]:
        """Those of the dataset."""
        return self.dataset.clips

    @clips.setter
    def clips(self, clips: list[Clip]) -> None:
        self.dataset.clips = clips

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """That of the dataset."""
        return self.dataset.read_image(clip, frame, interleaved)

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Its translated label, (H, W) of that type."""
        return self._table.to(dtype)[self.dataset.read_label(clip, frame)]

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """That of the dataset."""
        return self.dataset.read_flow(clip, nonkey, key)
