"""Generated videos with exact labels and exact flow."""

from pathlib import Path

import torch
from torch import Tensor

from src.data.datasets.vspw import VSPW
from src.data.shards.path import dataset_root
from src.data.synthetic.scenes.files import SPLITS, SceneSettings, build_shots, find_folder, generate, is_complete, read_json
from src.data.synthetic.scenes.rendering import flow_between
from src.data.synthetic.scenes.shapes import SCENE_CLASSES
from src.data.synthetic.scenes.world import Scene

_DEFAULT_CLIPS = {"train": 60, "val": 8, "test": 12}
# 32 test frames, so that mVC16 has several windows per clip.
_DEFAULT_FRAMES = {"train": 24, "val": 24, "test": 32}


class MovingScenes(VSPW):
    """Generated videos, written once for each settings, then read as a VSPW folder; flow is computed from the scene.

    Classes: sky, ground, wall, tree, ball, crate, ring, pole. Objects roll, bounce, tumble, sway, fly, occlude one another, enter
    and leave before a camera that drives and rotates, with noise and changing brightness.

    Splits: ``train``, ``val`` or ``test``, with different scenes.

    Args:
        root: folder of all generated videos; :func:`src.data.synthetic.scenes.files.find_folder` chooses the place in it.
        num_clips: default 60, 8 and 12.
        num_frames: default 24, 24 and 32.
        size: (H, W) in pixels.
        cuts: scene changes in each clip, at random frames.

    Raises:
        ValueError: if the split is unknown, the settings are impossible, or ``root`` contains other data.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_clips: int | None = None,
        num_frames: int | None = None,
        size: tuple[int, int] = (128, 192),
        seed: int = 0,
        cuts: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; expected one of {SPLITS}")
        settings = SceneSettings(
            num_clips=_DEFAULT_CLIPS[split] if num_clips is None else num_clips,
            num_frames=_DEFAULT_FRAMES[split] if num_frames is None else num_frames,
            height=size[0],
            width=size[1],
            seed=seed,
            cuts=cuts,
        )
        folder = find_folder(dataset_root(root), split, settings)
        if not is_complete(folder, split, settings):
            folder = generate(dataset_root(root), split, settings)
        super().__init__(folder, split, num_classes=len(SCENE_CLASSES), classes=SCENE_CLASSES, fps=15.0)
        self.settings = settings
        self._shots: dict[int, list[tuple[int, Scene]]] = {}

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor:
        """Compute the exact backward flow between any two frames: NaN if occluded or outside the key frame; all NaN across a cut.

        Raises:
            IndexError: if a frame is not in the clip.
        """
        for frame in (nonkey, key):
            if not 0 <= frame < len(self.clips[clip]):
                raise IndexError(f"frame of clip {self.clips[clip].name} is {frame}; expected 0..{len(self.clips[clip]) - 1}")
        size = self.settings.height, self.settings.width
        if nonkey == key:
            return torch.zeros(2, *size)
        if clip not in self._shots:
            path = self.root / "data" / self.clips[clip].name / "scene.json"
            self._shots[clip] = build_shots(read_json(path), self.settings)
        shots = self._shots[clip]
        first, second = (max(i for i, (start, _) in enumerate(shots) if start <= frame) for frame in (nonkey, key))
        if first != second:
            return torch.full((2, *size), torch.nan)
        start, scene = shots[first]
        return torch.from_numpy(flow_between(scene, nonkey - start, key - start))
