import json
from pathlib import Path

import pytest
import torch

from src.models.flow import CopyFlow
from src.weights.checkpoints import is_transformers_folder, load_checkpoint, load_transformers_model
from src.weights.model_folder import save_model
from tests.inference.tiny import CLASSES, frames, tiny_propagator, tiny_segmentor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small Mask2Former saved by transformers."""
    path = tmp_path_factory.mktemp("hub") / "mask2former"
    network = tiny_segmentor().network
    network.config.id2label = {0: "wall", 1: "door", 2: "floor, tiled", 3: "lamp"}
    network.config.label2id = {name: number for number, name in network.config.id2label.items()}
    network.save_pretrained(path)
    return path


def test_transformers_model_has_its_masks_and_class_names(folder: Path) -> None:
    propagator, metadata = load_transformers_model(str(folder))
    assert metadata == {"classes": ["wall", "door", "floor, tiled", "lamp"]}
    assert isinstance(propagator.flow, CopyFlow) and not propagator.training
    again, _ = load_transformers_model(str(folder))
    image = frames(1)[0][None]
    with torch.inference_mode():
        assert torch.equal(propagator.segmentor(image).mask_logits, again.segmentor(image).mask_logits)


def test_both_kinds_of_folders_are_distinguished(folder: Path, tmp_path: Path) -> None:
    assert is_transformers_folder(folder)
    assert not is_transformers_folder(save_model(tiny_propagator("copy"), tmp_path / "ours"))
    assert not is_transformers_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        is_transformers_folder(tmp_path)


def test_class_names_with_gaps_are_ignored(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "model").mkdir()
    for file in folder.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    config["id2label"] = {"0": "a", "1": "b", "2": "c", "7": "d"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert load_transformers_model(str(tmp_path / "model"))[1] == {}


def test_checkpoint_kind_follows_from_its_config(folder: Path, tmp_path: Path) -> None:
    model = save_model(tiny_propagator("query"), tmp_path / "model", {"classes": CLASSES, "short_side": 32})
    assert load_checkpoint(model)[1]["classes"] == list(CLASSES)
    assert load_checkpoint(str(model / "model.safetensors"))[1]["short_side"] == 32
    assert load_checkpoint(folder)[1]["classes"][2] == "floor, tiled"
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="'vit'"):
        load_checkpoint(tmp_path)


def test_path_without_a_model_is_an_error() -> None:
    for name in ("nowhere", "run/last.ckpt", "outputs/a/b/model", "run/model.safetensors"):
        with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
            load_checkpoint(name)
    # The tests run offline.
    with pytest.raises(OSError, match="nobody/nothing"):
        load_checkpoint("nobody/nothing")
