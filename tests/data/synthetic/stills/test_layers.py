"""Laws of layers: planes are ordered by depth, and the background continues behind the foreground."""

import numpy as np

from src.data.synthetic.segments import split_segments
from src.data.synthetic.stills.layers import Layers, extend_background, fit_planes
from src.structures import IGNORE_INDEX


def scene(seed: int) -> tuple[np.ndarray, Layers]:
    """Sky (0) over a road (1); a near and a far post (2); void along the lower border."""
    label = np.zeros((96, 128), np.int64)
    label[40:] = 1
    label[20:80, 22:28] = 2
    label[30:50, 90:96] = 2
    label[-5:, 20:] = IGNORE_INDEX
    segments = split_segments(label, 8, 64)
    return label, fit_planes(segments, (1,), (0,), 0.0, np.random.default_rng(seed))


def test_planes_fit_the_scene() -> None:
    """The sky is infinitely far, the inverse depth of the ground increases towards the camera, and the lower post is nearer."""
    for seed in range(5):
        _, layers = scene(seed)
        of = {
            name: int(layers.segments.index[row, column])
            for name, row, column in (("sky", 2, 2), ("road", 60, 100), ("near", 50, 25), ("far", 35, 92), ("car", 94, 60))
        }
        assert not layers.planes[of["sky"]].any() and layers.planes[of["road"], 1] > 0
        assert layers.planes[of["near"], 2] > layers.planes[of["far"], 2] > 0
        order = [layers.depth_rank[of[name]] for name in ("sky", "road", "far", "near", "car")]
        assert order == sorted(order)
        assert layers.fixed.nonzero()[0].tolist() == [of["car"]]
        assert not layers.movable[[of["sky"], of["road"], of["car"]]].any() and layers.movable[of["far"]]


def test_background_continues_behind_the_foreground() -> None:
    """After removing the foreground, only background layers and their colors remain, unchanged where they were visible."""
    label, layers = scene(0)
    still = np.where((label == 2)[..., None], 255, 40 + 60 * (label == 1)[..., None]).astype(np.uint8).repeat(3, axis=-1)
    index, image = extend_background(still, layers)
    assert layers.background[index].all()
    seen = layers.background[layers.segments.index]
    assert np.array_equal(index[seen], layers.segments.index[seen]) and np.array_equal(image[seen], still[seen])
    assert image[label == 2].max() <= 100
