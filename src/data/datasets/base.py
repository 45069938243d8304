"""Base class of the datasets whose clips are found below one folder."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from src.data.clips import FileClips, SplitContent
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root


class DatasetFolder(FileClips, ABC):
    """One split of a dataset on disk; subclasses implement :meth:`load_split` for their layout.

    Args:
        root: folder of the dataset, or folder or URL of its shards.
        split: name of the split; the subclass documents the choices.
        min_clip_length: minimum number of frames; shorter clips are left out.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); listed files and videos are left out.
        issues: if given, issues are appended here instead of raised.

    Raises:
        FileNotFoundError: if a folder, list or file of the layout is missing; the message names the path.
        ValueError: if the split is unknown, a file is malformed, or no clip is left.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        min_clip_length: int = 1,
        exclude: str | Path | None = None,
        issues: list[DatasetIssue] | None = None,
    ) -> None:
        self.root = dataset_root(root)
        self.split = split
        policy = IssuePolicy(self.root, exclude, issues)
        super().__init__(self.load_split(policy), policy, min_clip_length)

    @abstractmethod
    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the clips of ``self.split`` below ``self.root``; the policy receives the issues found on the way."""


def check_split(dataset: str, split: str, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the split is one of the choices."""
    if split not in choices:
        raise ValueError(f"unknown {dataset} split {split!r}; expected one of {', '.join(choices)}")
