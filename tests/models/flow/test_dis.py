from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from src.models.flow.dis import DISFlow
from src.ops.warp import resize_flow, warp

NO_QUERIES = torch.zeros(1, 1, 1)


def read_rgb(path: Path) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])).permute(2, 0, 1)[None]


def shifted_pair(
    texture: Callable[[int, int], Tensor], dx: int, dy: int, height: int = 120, width: int = 160
) -> tuple[Tensor, Tensor]:
    """Key and non-key frame where ``nonkey[p] = key[p + (dx, dy)]``."""
    scene = texture(height + 40, width + 40)
    key = scene[None, :, 20 : 20 + height, 20 : 20 + width]
    nonkey = scene[None, :, 20 + dy : 20 + dy + height, 20 + dx : 20 + dx + width]
    return key, nonkey


@pytest.mark.parametrize("dx, dy", [(5, 0), (0, -4), (-3, 2)])
def test_a_known_shift_is_found(texture: Callable[[int, int], Tensor], dx: int, dy: int) -> None:
    key, nonkey = shifted_pair(texture, dx, dy)
    flow = DISFlow(stride=1)(key, nonkey, NO_QUERIES).segment_flow[0, 0, :, 20:100, 20:140]
    assert (flow - torch.tensor([dx, dy]).view(2, 1, 1)).abs().median() < 0.1
    assert (flow.mean((1, 2)) - torch.tensor([dx, dy])).abs().max() < 0.1


def test_vectors_are_in_pixels_of_their_own_grid(texture: Callable[[int, int], Tensor]) -> None:
    key, nonkey = shifted_pair(texture, 4, -4)
    for estimator in (DISFlow(), DISFlow(short_side=60), DISFlow(stride=8, preset="fast")):
        flow = estimator(key, nonkey, NO_QUERIES).segment_flow
        inside = flow[0, 0, :, 3:-3, 3:-3].flatten(1).median(1).values * estimator.stride
        torch.testing.assert_close(inside, torch.tensor([4.0, -4.0]), atol=0.3, rtol=0)


def test_the_edge_is_repeated_into_the_padding(texture: Callable[[int, int], Tensor]) -> None:
    key, nonkey = shifted_pair(texture, 3, 1, height=100, width=140)
    prediction = DISFlow()(key, nonkey, NO_QUERIES)
    assert prediction.padded_size == (128, 160)
    flow = prediction.segment_flow[0, 0]
    assert torch.equal(flow[:, 25:], flow[:, 25:26].expand(-1, 7, -1))
    assert torch.equal(flow[:, :, 35:], flow[:, :, 35:36].expand(-1, -1, 5))


def test_a_batch_equals_its_images_one_by_one(texture: Callable[[int, int], Tensor]) -> None:
    pairs = [shifted_pair(texture, 2, 1), shifted_pair(texture, -3, 0)]
    keys, nonkeys = (torch.cat(images) for images in zip(*pairs, strict=True))
    both = DISFlow()(keys, nonkeys, NO_QUERIES).segment_flow
    for i, (key, nonkey) in enumerate(pairs):
        assert torch.equal(both[i : i + 1], DISFlow()(key, nonkey, NO_QUERIES).segment_flow)


@pytest.mark.parametrize("scene, bound", [("Grove2", 0.35), ("RubberWhale", 0.25), ("Urban2", 0.70), ("Dimetrodon", 0.18)])
def test_middlebury_errors_are_those_of_dis(shared_data: Path, scene: str, bound: float) -> None:
    folder = shared_data / "middlebury" / scene
    raw = np.fromfile(folder / "flow10.flo", np.float32)
    width, height = raw[1:3].view(np.int32)
    truth = torch.from_numpy(raw[3:]).reshape(height, width, 2).permute(2, 0, 1)
    frame10, frame11 = read_rgb(folder / "frame10.png"), read_rgb(folder / "frame11.png")
    flow = DISFlow(stride=1, size_divisor=1)(frame11, frame10, NO_QUERIES).segment_flow[0, 0]
    known = (truth.abs() < 1e9).all(0)
    assert (flow - truth).norm(dim=0)[known].mean() < bound


def test_camvid_labels_are_propagated_better_than_by_copying(shared_data: Path) -> None:
    folder, errors = shared_data / "camvid" / "0016E5", []
    for target in (7985, 8021, 8055):
        source = target - 6
        key, nonkey = (read_rgb(folder / "image" / f"{frame:06d}.jpg") for frame in (source, target))
        old, new = (
            torch.from_numpy(cv2.imread(str(folder / "label" / f"{frame:06d}.png"), cv2.IMREAD_UNCHANGED))
            for frame in (source, target)
        )
        prediction = DISFlow()(key, nonkey, NO_QUERIES)
        height, width = prediction.padded_size
        flow = resize_flow(prediction.segment_flow[:, 0], (height, width))[..., : old.shape[0], : old.shape[1]]
        classes = torch.nn.functional.one_hot(old.long(), 12).movedim(-1, 0)[None].float()
        carried = warp(classes, flow)[0].argmax(0)
        valid = (new != 11) & (carried != 11)
        errors.append([(label != new)[valid].float().mean() for label in (carried, old)])
    carried_error, copied_error = torch.tensor(errors).mean(0)
    assert carried_error < 0.5 * copied_error, f"DIS leaves {carried_error:.3f} wrong, copying {copied_error:.3f}"


def test_unusable_images_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="meta device"):
        DISFlow()(*[torch.zeros(1, 3, 64, 64, device="meta")] * 2, NO_QUERIES)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        DISFlow()(*[torch.zeros(1, 3, 12, 64)] * 2, NO_QUERIES)
    with pytest.raises(ValueError, match="at least 16"):
        DISFlow(short_side=8)
    with pytest.raises(ValueError, match="ultrafast, fast, medium"):
        DISFlow(preset="slow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a multiple"):
        DISFlow(stride=5)
