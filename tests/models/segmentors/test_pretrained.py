"""Laws of loading: every tensor comes from the file, except a class head for other classes."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerConfig, PreTrainedModel

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.pretrained import image_statistics, load_network, read_config
from tests.models.families import network

Saved = tuple[Path, torch.nn.Module]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """A network with 5 classes, its loss buffer included, and the folder that transformers wrote of it."""
    made = network("mask2former")
    made.save_pretrained(tmp_path)
    return tmp_path, made


def load(path_or_id: str, num_classes: int | None = None) -> tuple[PreTrainedModel, Statistics, Statistics]:
    kind = Mask2FormerSegmentor

    def rebuild(config: Mask2FormerConfig, classes: int) -> Mask2FormerConfig:
        return kind.network_config(kind.network_fields(config), classes)

    return load_network(path_or_id, kind.network_class, rebuild, kind.class_head_name, num_classes)


def test_same_classes_load_every_tensor(saved, caplog):
    folder, source = saved
    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        loaded, mean, std = load(str(folder))
    tensors = source.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in loaded.state_dict().items())
    assert (mean, std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert f"loaded {len(tensors) - 1} tensors; re-initialized for new classes: none" in caplog.text


def test_other_classes_reinitialize_only_the_class_head_and_log_it(saved, caplog):
    folder, source = saved
    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        loaded, _, _ = load(str(folder), num_classes=9)
    tensors = source.model.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in loaded.model.state_dict().items())
    assert loaded.class_predictor.out_features == 10
    assert loaded.class_predictor.weight.std() > 0
    assert "re-initialized for new classes: class_predictor.bias, class_predictor.weight;" in caplog.text


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
        load(str(folder), num_classes=9)


def test_image_statistics_come_from_the_folder(saved):
    folder, _ = saved
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}))
    _, mean, std = load(str(folder))
    assert (mean, std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1]}))
    with pytest.raises(ValueError, match=r"image_mean of .* has 1 numbers"):
        load(str(folder))
    with pytest.raises(ValueError, match="image_std has 4 numbers"):
        image_statistics([1, 2, 3, 4], "image_std")


def test_other_architectures_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert read_config(str(tmp_path)) == {"model_type": "bert"}
    with pytest.raises(ValueError, match="'bert' model; expected 'mask2former'"):
        load(str(tmp_path))


@pytest.mark.parametrize("source", ["no/such/folder", "facebook/mask2former-swin-tiny-ade-semantic"])
def test_what_cannot_be_read_is_an_error_that_names_what_to_give(source):
    with pytest.raises(OSError, match="Give a local folder"):
        load(source)
