"""Small segmentors, one for each kind of backbone."""

from collections.abc import Callable

import pytest

from src.models.segmentors.backbones import BACKBONES, BackboneSpec
from src.models.segmentors.mask2former import Mask2FormerSegmentor

SMALL_RESNET = BackboneSpec(
    "resnet",
    {
        "embedding_size": 8,
        "hidden_sizes": [16, 24, 32, 48],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    },
    None,
)

BuildSegmentor = Callable[..., Mask2FormerSegmentor]


@pytest.fixture
def build_segmentor(monkeypatch: pytest.MonkeyPatch) -> BuildSegmentor:
    """Random weights, 5 classes, 6 queries, 3 predictions; ``small_resnet`` exists for tests only."""
    monkeypatch.setitem(BACKBONES, "small_resnet", SMALL_RESNET)

    def build(backbone: str = "tiny", drop_path: float = 0.0, pretrained_backbone: bool | str = False) -> Mask2FormerSegmentor:
        return Mask2FormerSegmentor.from_backbone(
            backbone,
            num_classes=5,
            num_queries=6,
            hidden_dim=32,
            feedforward_dim=48,
            encoder_feedforward_dim=40,
            encoder_layers=1,
            decoder_layers=2,
            num_heads=2,
            drop_path=drop_path,
            pretrained_backbone=pretrained_backbone,
        )

    return build
