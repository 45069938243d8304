"""Generated scenes on disk, in VSPW's layout: written once, as a whole or not at all.

```
<root>/dataset.json                                 format version and the settings of every split
<root>/train.txt, val.txt, test.txt                 written last: a split without its list is not there
<root>/data/<split>_0000/origin/*.jpg, mask/*.png   frames and labels, as VSPW has them
<root>/data/<split>_0000/scene.json                 the seed of the clip and the first frames of its shots
```
"""

from __future__ import annotations

import json
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

from src.data.synthetic.scenes.rendering import draw, expose
from src.data.synthetic.scenes.shapes import SCENE_CLASSES
from src.data.synthetic.scenes.world import Scene, build_scene
from src.files.atomic_write import write_label_png

FORMAT = 1
"""Changes whenever the same settings would give other files."""
SPLITS = ("train", "val", "test")
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class SceneSettings:
    """What a split is generated from.

    Attributes:
        num_clips: videos.
        num_frames: frames in each.
        height: pixels.
        width: pixels.
        seed: of everything.
        cuts: sudden changes to another scene within each clip.
    """

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


def build_shots(scene: Mapping[str, Any], settings: SceneSettings) -> list[tuple[int, Scene]]:
    """First frame and scene of every shot of a clip, from the content of its scene.json."""
    size = settings.height, settings.width
    starts = [int(start) for start in scene["shots"]]
    ends = [*starts[1:], settings.num_frames]
    return [
        (start, build_scene((*scene["seed"], shot), size, end - start))
        for shot, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def is_whole(root: Path, split: str, settings: SceneSettings) -> bool:
    """Whether the split is there, made from these settings; ``False`` where ``root`` may be written to.

    Raises:
        ValueError: if it is there, but made from others, or the folder is not one of ours.
    """
    path, found = root / "dataset.json", (root / f"{split}.txt").is_file()
    if not path.is_file():
        if found or (root / "data").exists():
            raise ValueError(f"{root} holds data but no dataset.json, so it was not generated; expected an empty or a new folder")
        return False
    about = read_json(path)
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{path}: format {about.get('format')} but this version writes {FORMAT}; remove {root} or choose another"
        )
    if not found:
        return False
    made, asked = about.get("splits", {}).get(split), asdict(settings)
    if made != asked:
        raise ValueError(
            f"{path}: split {split!r} was generated with {made} but {asked} is asked for; remove {root} or choose another"
        )
    return True


def generate(root: Path, split: str, settings: SceneSettings) -> None:
    """Write a split; its list comes last, by renaming, so that an interrupted run leaves nothing that looks whole.

    A second process that asks for the same waits for the first. Errors as of :func:`is_whole`.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        # Another process may have done it while this one waited.
        if is_whole(root, split, settings):
            return
        about = root / "dataset.json"
        splits = read_json(about)["splits"] if about.is_file() else {}
        _write_json(about, {"format": FORMAT, "splits": {**splits, split: asdict(settings)}})
        _write_json(root / "label_num_dic_final.json", {"others": 0} | {name: k + 1 for k, name in enumerate(SCENE_CLASSES)})
        names = [f"{split}_{number:04d}" for number in range(settings.num_clips)]
        (root / "data").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished_", dir=root) as folder:
            for number, name in enumerate(track(names, description=f"generating {split} scenes")):
                _write_clip(Path(folder) / name, (settings.seed, SPLITS.index(split), number), settings)
            for name in names:
                shutil.rmtree(root / "data" / name, ignore_errors=True)
                os.replace(Path(folder) / name, root / "data" / name)
        _write_text(root / f"{split}.txt", "".join(f"{name}\n" for name in names))


def _write_clip(folder: Path, seed: tuple[int, int, int], settings: SceneSettings) -> None:
    rng = np.random.default_rng(seed)
    cuts = 1 + rng.permutation(settings.num_frames - 1)[: settings.cuts]
    scene = {"seed": list(seed), "shots": [0, *sorted(int(cut) for cut in cuts)]}
    noise, depth, pace, phase = rng.uniform((1.5, 0.03, 0.1, 0.0), (4.0, 0.1, 0.4, 6.3))
    (folder / "origin").mkdir(parents=True)
    (folder / "mask").mkdir()
    for start, world in reversed(build_shots(scene, settings)):
        kinds = np.array([thing.kind for thing in world.things])
        end = min([shot for shot in scene["shots"] if shot > start], default=settings.num_frames)
        for frame in range(start, end):
            picture, owner = draw(world, frame - start)
            image = expose(picture, 1 + depth * np.sin(pace * frame + phase), noise, np.random.default_rng((*seed, 1, frame)))
            Image.fromarray(image).save(folder / "origin" / f"{frame:08d}.jpg", quality=_JPEG_QUALITY, subsampling=0)
            write_label_png(folder / "mask" / f"{frame:08d}.png", (kinds[owner] + 1).astype(np.uint8))
    _write_json(folder / "scene.json", scene)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: if there is none; the message names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected the JSON that generated data carries") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(content, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
