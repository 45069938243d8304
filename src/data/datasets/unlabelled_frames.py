"""Videos as folders of frames, without labels and classes: footage for self-supervised pairs."""

from pathlib import Path

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.datasets.frame_folders import FrameFolders, read_clips, video_folders
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.structures import IGNORE_INDEX


class UnlabelledVideos(DatasetFolder):
    """A folder of frames for each video: ``<root>/<video>/<frames>/*.jpg|png``, in the order of their names.

    Further arguments and errors as of :class:`DatasetFolder`.

    Args:
        frames: subfolder of each video that holds its frames (``origin`` in VSPW); ``.`` is the video's folder itself.
    """

    def __init__(
        self,
        root: str | Path,
        frames: str = ".",
        min_clip_length: int = 2,
        exclude: str | Path | None = None,
        issues: list[DatasetIssue] | None = None,
    ) -> None:
        self._frames = frames
        super().__init__(root, "all", min_clip_length, exclude, issues)

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the videos; see :meth:`DatasetFolder.load_split`."""
        folders = {name: self.root / name / self._frames for name in video_folders(self.root, policy)}
        videos = [FrameFolders(name, folder, folder / "no labels") for name, folder in folders.items()]
        # A label format needs at least one value; no file uses it.
        return SplitContent(read_clips(videos, policy, "any"), (), 0.0, {0: IGNORE_INDEX})
