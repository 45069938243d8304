"""Laws of generated videos: flow carries labels and images, and files are those of VSPW's layout."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from src.data.datasets.vspw import VSPW
from src.data.synthetic.moving_scenes import MovingScenes
from src.data.synthetic.scenes.rendering import render_frame
from src.data.synthetic.scenes.world import build_scene
from src.ops.warp import warp

SIZE = (64, 96)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 24 small frames and two clips of another split, written once."""
    folder = tmp_path_factory.mktemp("scenes")
    MovingScenes(folder, "train", num_clips=3, num_frames=24, size=SIZE)
    MovingScenes(folder, "val", num_clips=2, num_frames=3, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def scenes(root: Path) -> MovingScenes:
    return MovingScenes(root, "train", num_clips=3, num_frames=24, size=SIZE)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def follow(flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the nearest rows and columns that a flow points to, and a mask of known flow."""
    known = ~flow.isnan().any(0)
    flow = torch.nan_to_num(flow)
    x = (torch.arange(flow.shape[2]) + flow[0]).round().long().clamp(0, flow.shape[2] - 1)
    y = (torch.arange(flow.shape[1])[:, None] + flow[1]).round().long().clamp(0, flow.shape[1] - 1)
    return y, x, known


def inner(label: Tensor) -> Tensor:
    """Return the pixels whose neighbors all have the same class."""
    values = label.numpy().astype(np.uint8)
    return torch.from_numpy(cv2.dilate(values, np.ones((3, 3))) == cv2.erode(values, np.ones((3, 3))))


PAIRS = [(4, 5), (6, 3), (14, 10), (2, 12), (23, 0)]


@pytest.mark.parametrize(("nonkey", "key"), PAIRS)
def test_flow_carries_the_label(scenes: MovingScenes, nonkey: int, key: int) -> None:
    """The key label read where the exact flow points is the non-key label, but for single pixels at edges."""
    for clip in range(3):
        y, x, known = follow(scenes.read_flow(clip, nonkey, key))
        key_label, label = scenes.read_label(clip, key), scenes.read_label(clip, nonkey)
        wrong = key_label[y, x] != label
        assert known.float().mean() > 0.3
        assert wrong[known].float().mean() < 0.04
        assert wrong[known & inner(label) & inner(key_label)[y, x]].float().mean() < 0.002


@pytest.mark.parametrize(("nonkey", "key"), PAIRS)
def test_flow_carries_the_image(scenes: MovingScenes, nonkey: int, key: int) -> None:
    """The key image warped by the exact flow fits the non-key image up to brightness and noise; the opposite flow does not."""
    for clip in range(3):
        flow = scenes.read_flow(clip, nonkey, key)
        known = inner(scenes.read_label(clip, nonkey)) & ~flow.isnan().any(0)
        image, key_image = scenes.read_image(clip, nonkey).float(), scenes.read_image(clip, key).float()
        errors = []
        for sign in (1, -1):
            warped = warp(key_image[None], sign * torch.nan_to_num(flow)[None])[0]
            gain = (image[:, known].sum() / warped[:, known].sum()).clamp(0.5, 2)
            errors.append((gain * warped - image)[:, known].abs().mean())
        assert errors[0] < 16
        assert errors[0] < 0.85 * errors[1]


def test_zero_offset_is_zero_flow(scenes: MovingScenes) -> None:
    """The flow of a frame to itself is zero."""
    assert torch.equal(scenes.read_flow(1, 5, 5), torch.zeros(2, *SIZE))


def test_forward_and_backward_flow_agree(scenes: MovingScenes) -> None:
    """Following the flow to the key frame and back ends at the start, within the error of interpolation at edges."""
    there, back = scenes.read_flow(0, 8, 6), scenes.read_flow(0, 6, 8)
    returned = warp(torch.nan_to_num(back, nan=1e4)[None], torch.nan_to_num(there)[None])[0]
    known = ~there.isnan().any(0) & inner(scenes.read_label(0, 8)) & (returned.abs().amax(0) < 1e3)
    error = (there + returned).norm(dim=0)[known]
    assert error.quantile(0.9) < 0.05


def test_vspw_reads_the_folder(root: Path, scenes: MovingScenes) -> None:
    """VSPW reads the same classes, frames and labels from the folder, for both splits."""
    plain = VSPW(root, "train", num_classes=8)
    assert plain.classes == scenes.classes == ("sky", "ground", "wall", "tree", "ball", "crate", "ring", "pole")
    assert plain.clips == scenes.clips and [len(clip) for clip in plain.clips] == [24, 24, 24]
    assert torch.equal(plain.read_label(2, 7), scenes.read_label(2, 7))
    assert [clip.name for clip in VSPW(root, "val", num_classes=8).clips] == ["val_0000", "val_0001"]
    seen = torch.cat([scenes.read_label(clip, frame).unique() for clip in range(3) for frame in (0, 12, 23)]).unique()
    assert seen.max() <= 7 and len(seen) >= 7


def test_same_seed_same_bytes_and_splits_differ(root: Path, tmp_path: Path) -> None:
    """A second folder gets equal files; another seed, split or clip gives other images."""
    MovingScenes(tmp_path / "again", "val", num_clips=2, num_frames=3, size=SIZE)
    MovingScenes(tmp_path / "other", "val", num_clips=1, num_frames=3, size=SIZE, seed=1)
    frame = Path("origin") / "00000000.jpg"
    for name in ("val_0000", "val_0001"):
        assert files(root / "data" / name) == files(tmp_path / "again" / "data" / name)
    pictures = [root / "data" / name / frame for name in ("train_0000", "train_0001", "val_0000")]
    pictures.append(tmp_path / "other" / "data" / "val_0000" / frame)
    assert len({path.read_bytes() for path in pictures}) == 4


def test_objects_enter_and_leave() -> None:
    """Over a clip, some object enters the image and some object leaves it."""
    came = left = 0
    for number in range(4):
        scene = build_scene((11, number), SIZE, 24)
        present = [set(np.unique(render_frame(scene, frame)[1]).tolist()) for frame in (0, 12, 23)]
        came += len(set.union(*present[1:]) - present[0])
        left += len(present[0] - present[-1])
    assert came >= 2 and left >= 2


def test_motion_changes_labels(scenes: MovingScenes) -> None:
    """Copying the label of four frames earlier is wrong for some pixels, but not for most."""
    same = [
        (scenes.read_label(clip, frame) == scenes.read_label(clip, frame - 4))[scenes.read_label(clip, frame) > 2].float().mean()
        for clip in range(3)
        for frame in (4, 12, 20)
    ]
    assert 0.4 < sum(same) / len(same) < 0.92


def test_flow_is_unknown_across_a_cut(tmp_path: Path) -> None:
    """Flow is NaN across a cut, and carries the label within a shot; scene.json contains the frames of the cuts."""
    scenes = MovingScenes(tmp_path, "train", num_clips=1, num_frames=6, size=SIZE, cuts=1)
    starts = json.loads((tmp_path / "data" / "train_0000" / "scene.json").read_text())["shots"]
    assert len(starts) == 2 and starts[0] == 0 and 1 <= starts[1] <= 5
    for frame in range(1, 6):
        flow = scenes.read_flow(0, frame, frame - 1)
        if frame == starts[1]:
            assert flow.isnan().all()
        else:
            y, x, known = follow(flow)
            assert known.float().mean() > 0.6
            assert (scenes.read_label(0, frame - 1)[y, x] != scenes.read_label(0, frame))[known].float().mean() < 0.05


def test_other_settings_have_a_folder_of_their_own(root: Path) -> None:
    """Other settings neither change the files of the first ones nor block them, and are generated once."""
    before = files(root)
    other = MovingScenes(root, "val", num_clips=1, num_frames=4, size=SIZE, seed=7)
    assert other.root.parent == root and other.root.name.startswith("val_") and len(other.clips[0]) == 4
    assert torch.equal(other.read_flow(0, 2, 2), torch.zeros(2, *SIZE)) and not other.read_flow(0, 2, 1).isnan().all()
    now = files(root)
    assert {name: now[name] for name in before} == before
    frame = other.clips[0].images[0]
    written = frame.stat().st_mtime_ns
    assert MovingScenes(root, "val", num_clips=1, num_frames=4, size=SIZE, seed=7).clips == other.clips
    assert frame.stat().st_mtime_ns == written
    assert MovingScenes(root, "val", num_clips=2, num_frames=3, size=SIZE).root == root


def test_impossible_settings_are_refused(tmp_path: Path, scenes: MovingScenes) -> None:
    """Unknown splits, empty clips, too many cuts and frames outside the clip are errors."""
    with pytest.raises(ValueError, match="split is 'valid'"):
        MovingScenes(tmp_path, "valid")
    for settings in ({"num_clips": 0}, {"num_frames": 2, "cuts": 2}, {"size": (16, 96)}):
        with pytest.raises(ValueError, match="expected at least"):
            MovingScenes(tmp_path, "train", **settings)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match=r"frame of clip train_0000 is 24; expected 0\.\.23"):
        scenes.read_flow(0, 24, 3)
    assert not list(tmp_path.iterdir())
