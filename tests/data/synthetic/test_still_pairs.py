"""Laws of pairs from stills: the flow carries the label of a clip, and the order of reading changes nothing."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.data.synthetic.still_pairs import KEY, NONKEY, StillPairs
from src.data.synthetic.stills.motion import SyntheticMotion
from src.data.synthetic.stills.settings import LayerSettings, ObjectMotion
from src.ops.warp import warp_label
from src.structures import IGNORE_INDEX, Clip
from tests.data.synthetic.stills.test_motion import street


class Stills:
    """Two streets and a frame without label between them."""

    classes = ("sky", "houses", "road", "pole", "car")
    chosen_colors = ((70, 130, 180), None, (128, 64, 128), None, None)
    fps = 1.0
    num_classes = 5

    def __init__(self, folder: Path) -> None:
        images = tuple(folder / f"{i}.png" for i in range(3))
        self.clips = [Clip("drive", images, (images[0], None, images[2]))]

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        return street(seed=frame)[0]

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return street(seed=frame)[1].to(dtype)

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        return None


NO_CHANGE = {"objects": ObjectMotion(max_pasted=0), "strength": 0.0, "deformation": 0.0, "photometric": 0.0}


def still_pairs(folder: Path, **settings: object) -> StillPairs:
    return StillPairs(Stills(folder), SyntheticMotion(LayerSettings((2,), (0,)), **settings))  # type: ignore[arg-type]


def test_every_labelled_still_is_a_pair_and_the_true_flow_carries_its_label(tmp_path: Path) -> None:
    data = still_pairs(tmp_path)
    assert [len(clip.labelled_frames) for clip in data.clips] == [2, 2]
    assert (data.classes, data.chosen_colors) == (Stills.classes, Stills.chosen_colors)
    moved = 0
    for clip in range(2):
        flow, key, label = data.read_flow(clip, NONKEY, KEY), data.read_label(clip, KEY), data.read_label(clip, NONKEY)
        assert flow is not None and set(key.unique().tolist()) <= {*range(5), IGNORE_INDEX}
        seen = flow.isfinite().all(0)
        carried = warp_label(key[None], torch.where(seen, flow, 0.0)[None], 5)[0]
        # At borders of segments, the four labels around a source belong to both.
        assert (carried == label)[seen].float().mean() > 0.97
        moved += int((key != label).sum())
    assert moved > 200
    assert data.read_flow(0, KEY, NONKEY) is None


def test_without_motion_both_frames_have_the_label_of_the_still(tmp_path: Path) -> None:
    data = still_pairs(tmp_path, **NO_CHANGE)
    for frame in (KEY, NONKEY):
        assert torch.equal(data.read_label(1, frame), street(seed=2)[1])
        assert torch.equal(data.read_image(1, frame), street(seed=2)[0])


def test_the_order_of_reading_changes_nothing(tmp_path: Path) -> None:
    one, other = still_pairs(tmp_path), still_pairs(tmp_path)
    first = [one.read_image(clip, frame) for clip in (0, 1) for frame in (KEY, NONKEY)]
    again = [other.read_image(clip, frame) for clip in (1, 0) for frame in (NONKEY, KEY)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(one.read_label(0, KEY), other.read_label(0, KEY))
    pair = one.motion(*street(seed=2), np.random.default_rng((0, 1)))
    assert torch.equal(pair.key_image, first[2]) and torch.equal(pair.nonkey_image, first[3])
