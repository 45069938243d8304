"""Laws of rendering: flow carries colors from the key frame to the non-key frame, and hidden pixels have NaN flow."""

import numpy as np
import pytest
import torch

from src.data.synthetic.scenes.rendering import NEAR, expose, flow_between, render_frame, unproject
from src.data.synthetic.scenes.shapes import GROUND, SKY
from src.data.synthetic.scenes.world import build_scene
from src.ops.warp import warp

SIZE = (64, 96)


def arrivals(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nearest rows and columns that a flow points to, and a mask of known flow."""
    known = ~np.isnan(flow).any(0)
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]]
    to_x, to_y = (np.rint(np.nan_to_num(flow[i]) + grid).astype(int) for i, grid in ((0, x), (1, y)))
    return to_y.clip(0, flow.shape[1] - 1), to_x.clip(0, flow.shape[2] - 1), known


@pytest.mark.parametrize("seed", range(3))
def test_flow_carries_colors_from_key_to_nonkey(seed: int) -> None:
    scene = build_scene((13, seed), SIZE, 24)
    (key, _), (nonkey, _) = render_frame(scene, 8.0), render_frame(scene, 11.0)
    errors = []
    for sign in (1, -1):
        flow = torch.from_numpy(sign * flow_between(scene, 11.0, 8.0))[None]
        carried = warp(torch.from_numpy(key).permute(2, 0, 1)[None], flow.nan_to_num())[0].permute(1, 2, 0).numpy()
        errors.append(np.median(np.abs(carried - nonkey)[~np.isnan(flow[0].numpy()).any(0)]))
    assert errors[0] < 5 and errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_pixel_has_no_flow(seed: int) -> None:
    """No pixel of the key frame shows the point of a non-key pixel with NaN flow."""
    scene = build_scene((13, seed), SIZE, 24)
    hidden = np.isnan(flow_between(scene, 11.0, 5.0)).any(0)
    owners = [render_frame(scene, time)[1] for time in (11.0, 5.0)]
    rows, columns, known = arrivals(flow_between(scene, 5.0, 11.0))
    same = known & (owners[0][rows, columns] == owners[1])
    assert hidden.mean() > 0.02 and same.mean() > 0.5
    assert hidden[rows, columns][same].mean() < 0.03


def test_exposure_scales_and_adds_noise() -> None:
    image = np.full((64, 64, 3), 100, np.float32)
    assert (expose(image, 1.2, 0.0, np.random.default_rng(0)) == 120).all()
    noisy = expose(image, 1.0, 3.0, np.random.default_rng(0)).astype(float)
    assert abs(noisy.mean() - 100) < 0.2 and abs(noisy.std() - 3) < 0.2


def test_unproject_inverts_projection() -> None:
    """The visible point of a plane at a pixel projects to that pixel, at that depth."""
    scene = build_scene((3, 4), (64, 96), 24)
    x, y = np.meshgrid(np.arange(0, 96, 7, dtype=np.float32), np.arange(0, 64, 7, dtype=np.float32))
    for obj in scene.objects:
        homography = scene.homography(obj, 5.0)
        u, v, depth = unproject(homography, x, y)
        position = np.einsum("ij,jhw->ihw", homography, np.stack((u, v, np.ones_like(u))).astype(np.float64))
        front = depth > NEAR
        np.testing.assert_allclose((position[0] / position[2])[front], x[front], atol=2e-2)
        np.testing.assert_allclose((position[1] / position[2])[front], y[front], atol=2e-2)
        np.testing.assert_allclose(position[2][front], depth[front], rtol=1e-3)


def test_zero_offset_is_zero_flow() -> None:
    """Without the shortcut of the reader, too, the flow at offset zero is zero and no pixel is hidden."""
    flow = flow_between(build_scene((5, 6), (64, 96), 24), 9.0, 9.0)
    known = ~np.isnan(flow).any(0)
    assert known[1:-1, 1:-1].mean() > 0.99
    assert np.abs(flow[:, known]).max() < 0.02


def test_sky_is_above_the_ground() -> None:
    """The image has no ground along the upper border, no sky along the lower one, and contrast."""
    for number in range(4):
        scene = build_scene((7, number), (64, 96), 24)
        picture, owner = render_frame(scene, 0)
        kinds = np.array([obj.kind for obj in scene.objects])[owner]
        assert not (kinds[:8] == GROUND).any() and not (kinds[-8:] == SKY).any()
        assert np.isfinite(picture).all() and picture.min() >= -1 and picture.max() <= 256
        assert picture.std() > 15
