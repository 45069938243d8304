"""Model folders of clip segmentors: the same network comes back, and anything else is refused in one line."""

import json
from pathlib import Path

import pytest
import torch

from src.weights.clip_folder import is_clip_model, load_clip_model, save_clip_model
from src.weights.model_folder import load_model
from tests.models.clip_segmentors.tiny import tiny_mrcfa


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_clip_model(tiny_mrcfa(), tmp_path / "model", {"classes": list("abcde")})


def test_the_same_network_comes_back(folder: Path) -> None:
    torch.manual_seed(0)
    network = tiny_mrcfa()
    save_clip_model(network, folder, {"classes": list("abcde")})
    for path in (folder, folder / "model.safetensors"):
        assert is_clip_model(path)
        loaded, metadata = load_clip_model(path)
        assert not loaded.training
        assert metadata == {"classes": list("abcde")}
        assert loaded.config() == network.config()
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "elsewhere"}, "weights"),
        ({"widths": "wide"}, "widths"),
        ({"depths": [1, 1, 1, 2]}, "does not fit"),
        ({"model_type": "tv3s"}, "expected one of mrcfa"),
        ({"kept_share": 2.0}, "kept_share"),
    ],
)
def test_other_configs_are_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["segmentor"] |= changes
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message) as caught:
        load_clip_model(folder)
    assert "\n" not in str(caught.value)


def test_other_commands_name_those_that_run_it(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"a clip segmentor; .*src\.predict and src\.eval run it"):
        load_model(folder)


def test_other_folders_are_no_clip_models(tmp_path: Path) -> None:
    assert not is_clip_model(tmp_path)
    assert not is_clip_model(tmp_path / "absent")
