"""Laws of Mask2Former: transformers' logits, float32 positions, safe configurations, frozen parts."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.ops.padding import pad_to
from tests.models.families import randomize

BACKBONES = ["tiny", "small_resnet", "efficientnet_lite0"]


def picture(height: int = 64, width: int = 96, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_raw_logits_equal_those_of_transformers(build_segmentor, backbone):
    segmentor = build_segmentor(backbone).eval()
    randomize(segmentor)
    image = picture()
    normalized = (image / 255 - segmentor.image_mean) / segmentor.image_std

    with torch.no_grad():
        ours = segmentor(image)
        theirs = segmentor.network(normalized, output_auxiliary_logits=True)

    layers = [*theirs.auxiliary_logits, theirs]
    assert ours.class_logits_per_layer.shape == (3, 2, 6, 6)
    assert ours.mask_logits_per_layer.shape == (3, 2, 6, 16, 24)
    assert torch.equal(ours.class_logits_per_layer, torch.stack([layer["class_queries_logits"] for layer in layers]))
    assert torch.equal(ours.mask_logits_per_layer, torch.stack([layer["masks_queries_logits"] for layer in layers]))


def test_queries_are_what_the_class_head_reads(build_segmentor):
    segmentor = build_segmentor().eval()
    randomize(segmentor)

    with torch.no_grad():
        prediction = segmentor(picture())
        again = segmentor.parts()["class_head"](prediction.queries)

    assert prediction.queries.shape == (2, 6, 32)
    assert torch.equal(again, prediction.class_logits)


def test_padding_is_zero_after_normalization_and_at_the_right_and_bottom(build_segmentor):
    segmentor = build_segmentor().eval()
    image = picture(50, 70)
    normalized = (image / 255 - segmentor.image_mean) / segmentor.image_std

    with torch.no_grad():
        prediction = segmentor(image)
        by_hand = segmentor.network(pad_to(normalized, (64, 96)))
        other_corner = segmentor.network(pad_to(normalized.flip(-1), (64, 96)).flip(-1))

    assert prediction.image_size == (50, 70)
    assert prediction.padded_size == (64, 96)
    assert torch.equal(prediction.mask_logits, by_hand.masks_queries_logits)
    assert not torch.allclose(prediction.mask_logits, other_corner.masks_queries_logits, atol=1e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_autocast_keeps_logits_and_positions_in_float32(build_segmentor, backbone):
    segmentor = build_segmentor(backbone).eval()
    randomize(segmentor)
    image, positions = picture(), []
    exact = segmentor(image)
    decoder = segmentor.parts()["pixel_decoder"]
    decoder.position_embedding.register_forward_hook(lambda _module, _args, made: positions.append(made))
    decoder.encoder.layers[0].self_attn.register_forward_pre_hook(
        lambda _module, _args, named: positions.append(named["reference_points"]), with_kwargs=True
    )

    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = segmentor(image)
    (prediction.mask_logits.mean() + prediction.class_logits.mean()).backward()

    assert [made.dtype for made in positions] == 4 * [torch.float32]
    for value, reference in [
        (prediction.mask_logits_per_layer, exact.mask_logits_per_layer),
        (prediction.class_logits_per_layer, exact.class_logits_per_layer),
        (prediction.queries, exact.queries),
    ]:
        assert value.dtype == torch.float32
        assert (value - reference).abs().mean() < 0.2 * reference.std()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in segmentor.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_config_rebuilds_the_network(build_segmentor, backbone):
    segmentor = build_segmentor(backbone, drop_path=0.2).eval()
    config = json.loads(json.dumps(segmentor.config()))

    rebuilt = Mask2FormerSegmentor.from_config(config).eval()
    rebuilt.load_state_dict(segmentor.state_dict())

    image = picture()
    with torch.no_grad():
        assert torch.equal(rebuilt(image).mask_logits, segmentor(image).mask_logits)
    assert rebuilt.config() == config
    assert (rebuilt.num_classes, rebuilt.num_queries, rebuilt.query_dim) == (5, 6, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "oneformer"}, "oneformer"),
        ({"auto_map": {"AutoModel": "theirs.py"}}, "auto_map"),
        ({"_attn_implementation": "someone/kernel"}, "_attn_implementation"),
        ({"backbone_config": {"model_type": "dinov2"}}, "dinov2"),
        ({"backbone_config": {"model_type": "swin", "trust_remote_code": True}}, "trust_remote_code"),
        ({"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:someone/model"}}, "hf-hub:someone/model"),
        ({"hidden_dim": "wide"}, "hidden_dim"),
        ({"image_mean": [0.5]}, "image_mean"),
    ],
)
def test_config_from_elsewhere_builds_only_known_architectures(build_segmentor, change, message):
    config = {**build_segmentor().config(), **change}
    with pytest.raises(ValueError, match=message):
        Mask2FormerSegmentor.from_config(config)


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        ("resnet50", 44.035),
        ("resnet101", 63.027),
        ("swin_tiny", 47.433),
        ("swin_small", 68.751),
        ("swin_base", 106.916),
        ("swin_large", 215.482),
    ],
)
def test_the_number_of_parameters_is_that_of_the_paper(backbone, millions):
    with torch.device("meta"):
        segmentor = Mask2FormerSegmentor.from_backbone(backbone, num_classes=124, pretrained_backbone=False)
    assert sum(p.numel() for p in segmentor.parameters()) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_lite0_has_the_size_of_the_published_run():
    segmentor = Mask2FormerSegmentor.from_backbone(
        "efficientnet_lite0", 11, 32, 128, 512, 512, encoder_layers=2, decoder_layers=3, pretrained_backbone=False
    )
    assert sum(p.numel() for p in segmentor.parameters()) / 1e6 == pytest.approx(4.45, abs=0.005)
    assert len(segmentor.parts()["transformer_decoder"].decoder.layers) == 3


@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "efficientnet_lite0"])
def test_runs_on_the_meta_device(backbone):
    segmentor = Mask2FormerSegmentor.from_backbone(backbone, 7, decoder_layers=1, pretrained_backbone=False).eval().to("meta")
    prediction = segmentor(torch.empty(1, 3, 480, 853, device="meta"))
    assert prediction.mask_logits_per_layer.shape == (2, 1, 100, 120, 216)


def test_parts_are_the_whole_network_and_share_only_the_mask_head(build_segmentor):
    segmentor = build_segmentor()
    names = {parameter: name for name, parameter in segmentor.named_parameters()}
    parts = {name: {names[p] for p in part.parameters()} for name, part in segmentor.parts().items()}

    assert list(parts) == ["backbone", "pixel_decoder", "transformer_decoder", "mask_head", "class_head"]
    assert parts.pop("mask_head") < parts["transformer_decoder"]
    assert sum(len(part) for part in parts.values()) == len(names) == len(set().union(*parts.values()))
    assert all(key.startswith(("network.model.", "network.class_predictor.")) for key in segmentor.state_dict())


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("trainable", [["mask_head", "class_head"], ["pixel_decoder"]])
def test_frozen_is_bit_equal_after_training(build_segmentor, backbone, trainable):
    segmentor = build_segmentor(backbone, drop_path=0.5)
    segmentor.set_trainable(trainable)
    before = {name: value.clone() for name, value in segmentor.state_dict().items()}
    optimizer = torch.optim.SGD(segmentor.parameters(), lr=0.1, weight_decay=0.1)

    for _ in range(2):
        prediction = segmentor.train()(picture(64, 64))
        (prediction.mask_logits_per_layer.square().mean() + prediction.class_logits_per_layer.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

    moving = {parameter for name in trainable for parameter in segmentor.parts()[name].parameters()}
    parameters = dict(segmentor.named_parameters())
    for name, value in segmentor.state_dict().items():
        assert torch.equal(value, before[name]) != (parameters.get(name) in moving), name


def test_a_frozen_network_has_no_randomness(build_segmentor):
    segmentor = build_segmentor(drop_path=0.9)
    image = picture()
    moving = [segmentor.train()(image).mask_logits for _ in range(4)]
    assert any(not torch.equal(moving[0], other) for other in moving[1:]), "drop path should act while all is trained"

    segmentor.set_trainable(["class_head"])
    still = [segmentor.train()(image).mask_logits for _ in range(4)]
    assert all(torch.equal(still[0], other) for other in still[1:])


def test_a_network_saved_by_transformers_is_loaded_in_train_mode(build_segmentor, tmp_path: Path):
    source = build_segmentor().eval()
    source.network.save_pretrained(tmp_path)

    loaded = Mask2FormerSegmentor.from_pretrained(str(tmp_path))

    assert all(module.training for module in loaded.modules())
    image = picture()
    with torch.no_grad():
        assert torch.equal(loaded.eval()(image).mask_logits, source(image).mask_logits)
    assert Mask2FormerSegmentor.from_pretrained(str(tmp_path), num_classes=9).num_classes == 9
