"""Laws of the backbones: strides and rebuilt configurations."""

import logging

import pytest
import torch
from transformers import AutoBackbone, Mask2FormerConfig, ResNetConfig

from src.models.segmentors.backbones import (
    BACKBONES,
    backbone_config,
    backbone_fields,
    backbone_spec,
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
