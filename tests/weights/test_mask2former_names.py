from collections import Counter
from pathlib import Path

import pytest
import torch

from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.architecture import segmentor_config
from src.weights.mask2former_names import position_index_names, segmentor_names, unused_names
from src.weights.mpvss_names import MOTION_PREFIX
from tests.weights.golden_rule import golden_layout
from tests.weights.published import small_config


@pytest.mark.parametrize("changes", [{}, {"enforce_input_projection": True}, {"feature_size": 64}, {"mask_feature_size": 64}])
@pytest.mark.parametrize("backbone", ["swin", "resnet"])
def test_every_tensor_has_exactly_one_official_position(backbone: str, changes: dict[str, object]) -> None:
    config = small_config(backbone, **changes)
    with torch.device("meta"):
        ours = Mask2FormerSegmentor.from_config(config).state_dict()
    places = Counter([name for parts in segmentor_names(config).values() for name in parts] + list(unused_names(config)))
    assert max(places.values()) == 1
    assert set(places) == set(ours)


@pytest.mark.parametrize("folder", ["swin", "swin_shifted", "r50"])
def test_names_are_those_of_the_published_code(goldens: Path, folder: str) -> None:
    layout = {k: v for k, v in golden_layout(goldens / "pipeline" / folder).items() if not k.startswith(MOTION_PREFIX)}
    config = segmentor_config(layout)
    assert {*segmentor_names(config), *position_index_names(config)} == set(layout)


def test_a_backbone_that_the_published_code_lacks_is_refused() -> None:
    config = small_config("swin", backbone_config={"model_type": "timm_backbone", "backbone": "tf_efficientnet_lite0"})
    with pytest.raises(ValueError, match="backbone is 'timm_backbone'; expected"):
        segmentor_names(config)
