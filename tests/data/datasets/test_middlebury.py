import numpy as np
import pytest
import torch

from src.data.datasets.middlebury import KEY, NONKEY, Middlebury
from src.ops.warp import warp
from tests.data.fake_layouts import write_image
from tests.files.test_flo import flo

SIZE = (6, 8)


def write_scene(images, flows, number, size=SIZE):
    for frame in (10, 11):
        write_image(images / f"frame{frame}.png", size=size, value=10 * number + frame)
    flows.mkdir(parents=True, exist_ok=True)
    flow = np.full((*SIZE, 2), (number, -1), np.float32)
    flow[0, 0] = 1e10
    (flows / "flow10.flo").write_bytes(flo(flow))


@pytest.fixture(params=["one folder", "as published"])
def root(request, tmp_path):
    for number, scene in enumerate(("Grove2", "Venus")):
        if request.param == "one folder":
            write_scene(tmp_path / scene, tmp_path / scene, number)
        else:
            write_scene(tmp_path / "other-data" / scene, tmp_path / "other-gt-flow" / scene, number)
    return tmp_path


def test_a_scene_is_a_clip_of_two_frames_with_a_flow(root):
    data = Middlebury(root)
    assert [(clip.name, len(clip), clip.labelled_frames) for clip in data.clips] == [("Grove2", 2, ()), ("Venus", 2, ())]
    assert [int(data.read_image(1, frame)[0, 0, 0]) for frame in (0, 1)] == [20, 21]
    flow = data.read_flow(1, NONKEY, KEY)
    assert flow[:, 0, 0].isnan().all() and flow[:, 1, 2].tolist() == [1, -1]


def test_only_the_direction_of_the_file_has_a_flow(root):
    data = Middlebury(root)
    assert data.read_flow(0, KEY, NONKEY) is None
    assert torch.equal(data.read_flow(0, 1, 1), torch.zeros(2, *SIZE))


def test_missing_files_are_errors(root):
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no <scene>/flow10\.flo"):
        Middlebury(root / "nowhere")
    (gone,) = root.rglob("Grove2/frame11.png")
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=r"Grove2.frame11\.png does not exist; expected it for scene Grove2"):
        Middlebury(root)
    issues = []
    Middlebury(root, issues=issues)
    assert [issue.path for issue in issues] == [gone]


def test_a_flow_of_another_size_than_its_image_is_refused(tmp_path):
    write_scene(tmp_path / "Venus", tmp_path / "Venus", 1, size=(6, 9))
    with pytest.raises(ValueError, match=r"flow10\.flo is 6x8 \(HxW\) but its image .*frame10\.png is 6x9"):
        Middlebury(tmp_path).read_flow(0, NONKEY, KEY)


def test_the_real_flow_explains_the_real_frames(shared_data):
    """Frame 11 warped by the flow equals frame 10; the other direction would double the motion."""
    data = Middlebury(shared_data / "middlebury")
    assert [clip.name for clip in data.clips] == ["Dimetrodon", "Grove2", "RubberWhale", "Urban2"]
    for clip in range(4):
        nonkey, key = (data.read_image(clip, frame)[None].float() for frame in (NONKEY, KEY))
        flow = data.read_flow(clip, NONKEY, KEY)
        known = flow.isfinite().all(0)
        flow = flow.nan_to_num()[None]
        errors = [(warp(key, sign * flow) - nonkey)[0].abs().mean(0)[known].mean() for sign in (1, 0, -1)]
        assert errors[0] < 0.6 * errors[1] < errors[2], data.clips[clip].name
