"""Videos of which nothing is known but their frames: any footage of the kind that a model shall run on."""

from __future__ import annotations

from pathlib import Path

from src.data.clips import FileClips
from src.data.datasets.frame_folders import FrameFolders, read_clips, subfolders
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root
from src.structures import IGNORE_INDEX


class UnlabelledVideos(FileClips):
    """A folder with a folder of frames for each video: ``<root>/<video>/<frames>/*.jpg|png``, in the order of their names.

    Args:
        root: where the videos are.
        frames: subfolder of each video that holds its frames (``origin`` in VSPW); ``.`` is the video's folder itself.
        min_clip_length: shorter videos are left out, frames.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); what it names is not used.
        faults: where given, what is wrong is appended here instead of being an error.

    Raises:
        FileNotFoundError: if there is no video, or one has no frames; the message names the folder.
        ValueError: if no video is long enough.
    """

    def __init__(
        self,
        root: str | Path,
        frames: str = ".",
        min_clip_length: int = 2,
        exclude: str | Path | None = None,
        faults: list[DatasetIssue] | None = None,
    ) -> None:
        self.root = dataset_root(root)
        policy = IssuePolicy(self.root, exclude, faults)
        names = subfolders(self.root)
        if not names and faults is None:
            raise FileNotFoundError(f"{self.root} holds no videos; expected a folder of frames for each")
        videos = [FrameFolders(name, self.root / name / frames, self.root / name / frames / "no labels") for name in names]
        super().__init__(
            read_clips(videos, policy, "any"), (), (), 0.0, {0: IGNORE_INDEX}, policy=policy, min_clip_length=min_clip_length
        )
