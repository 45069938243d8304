"""A dataset under the class names of another one, to score a model on data with other classes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.structures import IGNORE_INDEX, Clip


class RemappedClasses(ClipDataset):
    """The clips of a dataset with translated labels; classes without a counterpart are ignored.

    Scores then cover the classes that both datasets share. Predictions of the model's other classes count as errors.

    Args:
        dataset: source of the clips.
        classes: K target names, in the order of the model.
        names: class of ``dataset`` -> class of ``classes``; several may map to one.

    Raises:
        ValueError: if ``names`` has a class that is not in ``dataset`` or not in ``classes``, or is empty.
    """

    def __init__(self, dataset: ClipDataset, classes: Sequence[str], names: Mapping[str, str]) -> None:
        unknown = sorted(set(names) - set(dataset.classes)) + sorted(set(names.values()) - set(classes))
        if unknown or not names:
            raise ValueError(
                f"no such class: {', '.join(unknown) or 'none is mapped'}; the data has {', '.join(dataset.classes)}, "
                f"to be named {', '.join(classes)}"
            )
        self.dataset = dataset
        self.classes = tuple(classes)
        self.chosen_colors = ()
        self.fps = dataset.fps
        # One lookup translates a label: 256 entries, IGNORE_INDEX included.
        self._table = torch.full((256,), IGNORE_INDEX, dtype=torch.int64)
        for source, target in names.items():
            self._table[dataset.classes.index(source)] = self.classes.index(target)

    @property
    def clips(self) -> list[Clip]:
        """Clips of the source dataset."""
        return self.dataset.clips

    @clips.setter
    def clips(self, clips: list[Clip]) -> None:
        self.dataset.clips = clips

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """Read one frame of the source dataset."""
        return self.dataset.read_image(clip, frame, interleaved)

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Read the translated label of one frame."""
        return self._table.to(dtype)[self.dataset.read_label(clip, frame)]

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """Read the flow of the source dataset."""
        return self.dataset.read_flow(clip, nonkey, key)
