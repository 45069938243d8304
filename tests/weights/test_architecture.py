from pathlib import Path

import pytest
import torch

from src.models.segmentors.backbones import IMAGENET_MEAN, IMAGENET_STD
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.architecture import pixel_flow_config, query_flow_config, segmentor_config
from src.weights.mask2former_names import segmentor_names
from src.weights.mpvss_names import flownet_names, motion_names
from tests.weights.golden_rule import golden_layout
from tests.weights.published import small_config, small_flow

Shapes = dict[str, tuple[int, ...]]


def official_shapes(segmentor: Mask2FormerSegmentor, config: dict[str, object]) -> Shapes:
    own = {name: tuple(value.shape) for name, value in segmentor.state_dict().items()}
    names = segmentor_names(config).items()
    return {official: (len(ours) * own[ours[0]][0], *own[ours[0]][1:]) if own[ours[0]] else () for official, ours in names}


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "swin_tiny", "swin_small", "swin_base", "swin_large"])
def test_paper_networks_are_configured_from_their_shapes(backbone: str) -> None:
    with torch.device("meta"):
        segmentor = Mask2FormerSegmentor.from_backbone(backbone, 124, pretrained_backbone=False)
    fields = Mask2FormerSegmentor.network_fields(segmentor.network.config)
    statistics = {"image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD)}
    config = {"model_type": "mask2former", "num_classes": 124, **statistics, **fields}
    assert segmentor_config(official_shapes(segmentor, config)) == config


@pytest.mark.parametrize(
    "changes", [{}, {"num_attention_heads": 8}, {"enforce_input_projection": True}, {"feature_size": 64, "mask_feature_size": 96}]
)
@pytest.mark.parametrize("backbone", ["swin", "resnet"])
def test_any_sizes_are_configured_from_shapes(backbone: str, changes: dict[str, object]) -> None:
    config = small_config(backbone, **changes)
    with torch.device("meta"):
        segmentor = Mask2FormerSegmentor.from_config(config)
    assert segmentor_config(official_shapes(segmentor, config)) == config


def test_flow_is_configured_from_its_shapes() -> None:
    with torch.device("meta"):
        flow = small_flow(decoder_layers=4)
    state = flow.state_dict()
    config = query_flow_config({official: tuple(state[ours].shape) for official, (ours,) in motion_names(4).items()})
    assert config == {name: value for name, value in flow.config().items() if name in config}
    assert set(flow.config()) - set(config) == {"fuse_init", "fusion_dim", "input_mean", "queries", "size_divisor"}


@pytest.mark.parametrize("folder, embed, window", [("swin", 24, 7), ("r50", 64, 0)])
def test_missing_tensor_that_determines_a_size_is_an_error(goldens: Path, folder: str, embed: int, window: int) -> None:
    layout = golden_layout(goldens / "pipeline" / folder)
    backbone = segmentor_config(layout)["backbone_config"]
    assert (backbone.get("embed_dim", backbone.get("embedding_size")), backbone.get("window_size", 0)) == (embed, window)
    for prefix in ("sem_seg_head.predictor.class_embed", "sem_seg_head.pixel_decoder.mask_features", "backbone."):
        part = {name: shape for name, shape in layout.items() if not name.startswith(prefix)}
        with pytest.raises(ValueError, match=rf"missing .*{prefix}"):
            segmentor_config(part)
    with pytest.raises(ValueError, match=r"missing decoder\.query_embed\.weight"):
        query_flow_config(layout)
    with pytest.raises(ValueError, match=r"missing deconv5\.conv\.weight"):
        pixel_flow_config({name: (4,) for name in flownet_names() if not name.startswith("deconv")})


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.attention_weights.bias", (97,), "97 rows"),
        ("backbone.layers.0.blocks.0.attn.relative_position_bias_table", (168, 1), r"168 rows; expected \(2w - 1\)\^2"),
        ("sem_seg_head.predictor.query_feat.weight", (16,), "expected 2 dimensions"),
        ("sem_seg_head.predictor.class_embed.bias", (0,), "none of them 0"),
    ],
)
def test_impossible_shapes_are_errors(goldens: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    layout = golden_layout(goldens / "pipeline" / "swin") | {name: shape}
    with pytest.raises(ValueError, match=message) as error:
        segmentor_config(layout)
    assert name in str(error.value)
