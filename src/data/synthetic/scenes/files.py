"""Generated scenes on disk in VSPW's layout, written completely or not at all.

```
<root>/dataset.json                                 format version and the settings of every split
<root>/train.txt, val.txt, test.txt                 written last: a split exists if its list does
<root>/data/<split>_0000/origin/*.jpg, mask/*.png   frames and labels
<root>/data/<split>_0000/scene.json                 the seed of the clip and the first frames of its shots
<root>/<split>_<fingerprint>/                       the same for a split with other settings, or of another version
```
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image
from rich.progress import track

from src.data.synthetic.scenes.rendering import expose, render_frame
from src.data.synthetic.scenes.shapes import SCENE_CLASSES
from src.data.synthetic.scenes.world import Scene, build_scene
from src.files.atomic_write import write_label_png, write_text

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the generator; changes whenever equal settings would give other files."""
SPLITS = ("train", "val", "test")
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class SceneSettings:
    """Settings of a generated split: videos, frames of each, pixels, seed of every draw, and scene changes in each video."""

    num_clips: int
    num_frames: int
    height: int
    width: int
    seed: int
    cuts: int

    def __post_init__(self) -> None:
        if (
            min(self.num_clips, self.num_frames, self.cuts + 1) < 1
            or min(self.height, self.width) < 32
            or self.cuts >= self.num_frames
        ):
            raise ValueError(f"{self}; expected at least 1 clip of 1 frame of 32x32 pixels, and 0 <= cuts < num_frames")


def build_shots(shots: Mapping[str, Any], settings: SceneSettings) -> list[tuple[int, Scene]]:
    """Build first frame and scene of every shot of a clip from the content of its scene.json."""
    size = settings.height, settings.width
    starts = [int(start) for start in shots["shots"]]
    ends = [*starts[1:], settings.num_frames]
    return [
        (start, build_scene((*shots["seed"], shot), size, end - start))
        for shot, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def find_folder(root: Path, split: str, settings: SceneSettings) -> Path:
    """Return the folder of a split with these settings, existing or to be written.

    ``root`` holds the settings that were generated there first; other settings have a folder in it, named by their fingerprint.

    Raises:
        ValueError: if ``root`` contains other data.
    """
    path = root / "dataset.json"
    if not path.is_file():
        if (root / f"{split}.txt").is_file() or (root / "data").exists():
            raise ValueError(f"{root} contains data but no dataset.json, so it was not generated; expected an empty folder")
        return root
    about, expected = read_json(path), asdict(settings)
    if about.get("format") == FORMAT and about.get("splits", {}).get(split, expected) == expected:
        return root
    fingerprint = hashlib.sha256(json.dumps([FORMAT, expected], sort_keys=True).encode()).hexdigest()[:8]
    return root / f"{split}_{fingerprint}"


def is_complete(folder: Path, split: str, settings: SceneSettings) -> bool:
    """Return true if the split is listed in a folder of :func:`find_folder` and all its clips exist."""
    scenes = (folder / "data" / name / "scene.json" for name in _clip_names(split, settings))
    return (folder / f"{split}.txt").is_file() and all(scene.is_file() for scene in scenes)


def generate(root: Path, split: str, settings: SceneSettings) -> Path:
    """Write a split where it is missing or incomplete, and return its folder.

    The list is written last, so that an interrupted run leaves none. A second process waits for the first. Errors as of
    :func:`find_folder`, and ``ValueError`` for shards, which cannot be written.
    """
    if not isinstance(root, Path):
        raise ValueError(
            f"{root}: these shards lack split {split!r} with {asdict(settings)}; expected it, or a folder to write it to"
        )
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        folder = find_folder(root, split, settings)
        # Another process may have generated the split while this one waited.
        if not is_complete(folder, split, settings):
            folder.mkdir(exist_ok=True)
            _write_split(folder, split, settings)
    return folder


def _write_split(folder: Path, split: str, settings: SceneSettings) -> None:
    about, names = folder / "dataset.json", _clip_names(split, settings)
    if (folder / f"{split}.txt").is_file():
        log.warning("split %s in %s lacks clips; generating it again", split, folder)
        (folder / f"{split}.txt").unlink()
    for stale in folder.glob(".unfinished_*"):
        shutil.rmtree(stale)
    splits = read_json(about)["splits"] if about.is_file() else {}
    _write_json(about, {"format": FORMAT, "splits": {**splits, split: asdict(settings)}})
    _write_json(folder / "label_num_dic_final.json", {"others": 0} | {name: k + 1 for k, name in enumerate(SCENE_CLASSES)})
    (folder / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=folder) as unfinished:
        for number, name in enumerate(track(names, description=f"generating {split} scenes")):
            _write_clip(Path(unfinished) / name, (settings.seed, SPLITS.index(split), number), settings)
        for name in names:
            shutil.rmtree(folder / "data" / name, ignore_errors=True)
            os.replace(Path(unfinished) / name, folder / "data" / name)
    write_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in names))


def _clip_names(split: str, settings: SceneSettings) -> list[str]:
    return [f"{split}_{number:04d}" for number in range(settings.num_clips)]


def _write_clip(folder: Path, seed: tuple[int, int, int], settings: SceneSettings) -> None:
    rng = np.random.default_rng(seed)
    cuts = 1 + rng.permutation(settings.num_frames - 1)[: settings.cuts]
    shots = {"seed": list(seed), "shots": [0, *sorted(int(cut) for cut in cuts)]}
    noise, depth, pace, phase = rng.uniform((1.5, 0.03, 0.1, 0.0), (4.0, 0.1, 0.4, 6.3))
    (folder / "origin").mkdir(parents=True)
    (folder / "mask").mkdir()
    for start, scene in reversed(build_shots(shots, settings)):
        kinds = np.array([obj.kind for obj in scene.objects])
        end = min([shot for shot in shots["shots"] if shot > start], default=settings.num_frames)
        for frame in range(start, end):
            image, owner = render_frame(scene, frame - start)
            exposed = expose(image, 1 + depth * np.sin(pace * frame + phase), noise, np.random.default_rng((*seed, 1, frame)))
            Image.fromarray(exposed).save(folder / "origin" / f"{frame:08d}.jpg", quality=_JPEG_QUALITY, subsampling=0)
            write_label_png(folder / "mask" / f"{frame:08d}.png", (kinds[owner] + 1).astype(np.uint8))
    _write_json(folder / "scene.json", shots)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: if the file is missing or contains no object; the message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected the JSON of generated data") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} contains a {type(content).__name__}; expected a JSON object")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
