import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.models.segmentors.backbones import IMAGENET_MEAN
from src.models.segmentors.mask2former_config import build_mask2former, load_mask2former, mask2former_config, mask2former_fields

Saved = tuple[Path, torch.nn.Module]


@pytest.fixture
def saved(build_segmentor, tmp_path: Path) -> Saved:
    """A network with 5 classes, its loss buffer included, and the folder that transformers wrote of it."""
    network = build_mask2former(build_segmentor().network.config)
    network.save_pretrained(tmp_path)
    return tmp_path, network


def test_same_classes_load_every_tensor(saved, caplog):
    folder, source = saved
    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        network, mean, _ = load_mask2former(str(folder))
    tensors = source.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    assert mean == IMAGENET_MEAN
    assert f"loaded {len(tensors) - 1} tensors; re-initialised for new classes: none" in caplog.text


def test_other_classes_start_only_the_class_head_anew_and_say_so(saved, caplog):
    folder, source = saved
    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        network, _, _ = load_mask2former(str(folder), num_classes=9)
    tensors = source.model.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in network.model.state_dict().items())
    assert network.class_predictor.out_features == 10
    assert network.class_predictor.weight.std() > 0
    assert "re-initialised for new classes: class_predictor.bias, class_predictor.weight;" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_incomplete_weights_are_refused_by_name(saved, damage):
    folder, _ = saved
    tensors = load_file(folder / "model.safetensors")
    name = "model.transformer_module.queries_features.weight"
    if damage == "missing":
        del tensors[name]
    else:
        tensors[name] = torch.zeros(7, 32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=name):
        load_mask2former(str(folder), num_classes=9)


def test_image_statistics_come_from_the_folder(saved):
    folder, _ = saved
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}))
    _, mean, std = load_mask2former(str(folder))
    assert (mean, std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1]}))
    with pytest.raises(ValueError, match="image_mean"):
        load_mask2former(str(folder))


def test_other_architectures_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="bert"):
        load_mask2former(str(tmp_path))


@pytest.mark.parametrize("source", ["no/such/folder", "facebook/mask2former-swin-tiny-ade-semantic"])
def test_what_cannot_be_reached_is_an_error_that_says_what_to_do(source):
    with pytest.raises(OSError, match="Give a local folder"):
        load_mask2former(source)


def test_fields_are_the_reverse_of_config(build_segmentor):
    backbone, fields = mask2former_fields(build_segmentor("small_resnet").network.config)
    assert mask2former_fields(mask2former_config(backbone, 5, fields)) == (backbone, fields)
    with pytest.raises(ValueError, match="num_querys"):
        mask2former_config(backbone, 5, {"num_querys": 3})
