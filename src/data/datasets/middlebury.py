"""Middlebury's optical flow pairs with public ground truth (Baker et al., IJCV 2011), for evaluating optical flow only.

```
<root>/<scene>/frame10.png, frame11.png, flow10.flo
<root>/other-data/<scene>/frame10.png, frame11.png     layout of the published archives
<root>/other-gt-flow/<scene>/flow10.flo
```
"""

from pathlib import Path

import torch
from torch import Tensor

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.files.flo import read_flo
from src.files.images.readers import image_size
from src.structures import IGNORE_INDEX, Clip

NONKEY, KEY = 0, 1
"""The file's flow is stored at frame 10 and points into frame 11, which is therefore the key frame."""


class Middlebury(DatasetFolder):
    """Clips of two frames, one per scene, without labels, with known flow; arguments as of :class:`DatasetFolder`."""

    def __init__(self, root: str | Path, exclude: str | Path | None = None, issues: list[DatasetIssue] | None = None) -> None:
        super().__init__(root, "all", exclude=exclude, issues=issues)

    def load_split(self, policy: IssuePolicy) -> SplitContent:
        """Find the scenes; see :meth:`DatasetFolder.load_split`."""
        published = (self.root / "other-gt-flow").is_dir()
        flows = self.root / "other-gt-flow" if published else self.root
        images = self.root / "other-data" if published else self.root
        self._flow_files = {file.parent.name: file for file in sorted(flows.glob("*/flow10.flo"))}
        if not self._flow_files:
            raise FileNotFoundError(
                f"{flows} holds no <scene>/flow10.flo; expected Middlebury's scenes: <scene>/frame10.png, frame11.png, flow10.flo"
            )
        clips = []
        for scene in self._flow_files:
            frames = images / scene / "frame10.png", images / scene / "frame11.png"
            policy.report_missing(frames, f"scene {scene}")
            clips.append(Clip(scene, frames, (None, None)))
        # A label format needs at least one value; no file uses it.
        return SplitContent(clips, (), 1.0, {IGNORE_INDEX: IGNORE_INDEX})

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """Read the ground-truth flow from frame 10 (index 0) to frame 11 (index 1).

        Returns:
            (2, H, W) float32, NaN where unknown; zero from a frame to itself; ``None`` from frame 11 to frame 10.

        Raises:
            FileNotFoundError, ValueError: of :func:`src.files.flo.read_flo`, and if flow and image differ in size.
        """
        image = self.clips[clip].images[nonkey]
        if nonkey == key:
            return torch.zeros(2, *image_size(image))
        if (nonkey, key) != (NONKEY, KEY):
            return None
        path = self._flow_files[self.clips[clip].name]
        flow = read_flo(path)
        size, expected = (flow.shape[-2], flow.shape[-1]), image_size(image)
        if size != expected:
            raise ValueError(f"{path} is {size[0]}x{size[1]} (HxW) but its image {image} is {expected[0]}x{expected[1]}")
        return flow
