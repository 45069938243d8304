"""Middlebury's optical flow pairs with public ground truth (Baker et al., IJCV 2011): to judge a flow, not to train or segment.

```
<root>/<scene>/frame10.png, frame11.png, flow10.flo
<root>/other-data/<scene>/frame10.png, frame11.png     or as the archives unpack
<root>/other-gt-flow/<scene>/flow10.flo
```
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from src.data.clips import FileClips
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.data.shards.path import dataset_root
from src.files.flo import read_flo
from src.files.images import image_size
from src.structures import IGNORE_INDEX, Clip

NONKEY, KEY = 0, 1
"""The file's flow is stored at frame 10 and points into frame 11: in this project's terms frame 11 is the key frame."""


class Middlebury(FileClips):
    """Clips of two frames, a scene each, without labels; their flow is known from frame 10 to frame 11.

    Args:
        root: the folder that holds the scenes.
        exclude: exclusion list (see ``src/data/integrity/exclusion.py``); what it names is not used.
        faults: where given, missing files are appended here instead of being an error.

    Raises:
        FileNotFoundError: if the root holds no scene, or a scene lacks a frame; the message names it.
    """

    def __init__(self, root: str | Path, exclude: str | Path | None = None, faults: list[DatasetIssue] | None = None) -> None:
        self.root = dataset_root(root)
        policy = IssuePolicy(self.root, exclude, faults)
        published = (self.root / "other-gt-flow").is_dir()
        flows = self.root / "other-gt-flow" if published else self.root
        images = self.root / "other-data" if published else self.root
        self._flow_files = {file.parent.name: file for file in sorted(flows.glob("*/flow10.flo"))}
        if not self._flow_files:
            raise FileNotFoundError(
                f"{flows} holds no <scene>/flow10.flo; expected Middlebury's scenes: <scene>/frame10.png, frame11.png, flow10.flo"
            )
        clips = [_clip(scene, images / scene, policy) for scene in self._flow_files]
        # A label format without any value cannot be; no file has one.
        super().__init__(clips, (), (), fps=1.0, label_values={IGNORE_INDEX: IGNORE_INDEX}, policy=policy)

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """The true flow of frame 10 (number 0, the non-key frame) into frame 11 (number 1), which is the one direction known.

        Args:
            clip: index into ``clips``.
            nonkey: number of the frame at which the flow is stored.
            key: number of the frame that it points into.

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


def _clip(scene: str, folder: Path, policy: IssuePolicy) -> Clip:
    images = (folder / "frame10.png", folder / "frame11.png")
    missing = [path for path in images if not path.is_file()]
    policy.report(*(DatasetIssue("missing", path, f"{path} does not exist; expected it for scene {scene}") for path in missing))
    return Clip(scene, images, (None, None))
