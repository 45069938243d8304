"""Laws of every family: those of a segmentor, of its loading, and of propagating its masks."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.cost import frame_cost
from src.models.flow import CopyFlow, DISFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.base import KeyFrameSegmentor
from src.models.segmentors.registry import SEGMENTORS, build_segmentor, load_segmentor
from src.ops.masks import semantic_map
from src.weights.model_folder import load_model, save_model
from tests.models.families import FAMILIES, NUM_CLASSES, NUM_QUERIES, WIDTH, forward, network, picture


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for family, folder in made.items():
            network(family).save_pretrained(folder)
    return made


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def segmentor(folders, family) -> KeyFrameSegmentor:
    return load_segmentor(str(folders[family])).eval()


def test_raw_logits_equal_those_of_transformers(folders, family, segmentor):
    theirs = SEGMENTORS[family]
    own = {"mask2former": "Mask2FormerForUniversalSegmentation", "maskformer": "MaskFormerForInstanceSegmentation",
           "oneformer": "OneFormerForUniversalSegmentation", "eomt": "EomtForUniversalSegmentation",
           "eomt_dinov3": "EomtDinov3ForUniversalSegmentation", "videomt": "VideomtForUniversalSegmentation"}[family]  # fmt: skip
    # A OneFormer saved in training would require text, and apply dropout even in eval mode.
    reference = getattr(transformers, own).from_pretrained(
        folders[family], **({"is_training": False} if family == "oneformer" else {})
    )
    reference.eval()
    image = picture()
    with torch.no_grad():
        expected = forward(reference, (image / 255 - segmentor.image_mean) / segmentor.image_std)
        prediction = segmentor(image)
    assert isinstance(segmentor, theirs)
    torch.testing.assert_close(prediction.class_logits, expected.class_queries_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prediction.mask_logits, expected.masks_queries_logits, rtol=1e-4, atol=1e-4)
    assert prediction.mask_logits.std(1).mean() > 1e-3, "queries that agree would hide a mistake"
    earlier = getattr(expected, "auxiliary_logits", None) or getattr(expected, "auxiliary_predictions", None) or ()
    for layer, found in zip(earlier, prediction.mask_logits_per_layer[:-1], strict=family == "oneformer"):
        torch.testing.assert_close(found, layer["masks_queries_logits"], rtol=1e-4, atol=1e-4)


def test_queries_are_what_both_heads_read(family, segmentor):
    with torch.no_grad():
        prediction = segmentor(picture(50, 70))
        again = segmentor.parts()["class_head"](prediction.queries)
        segmentor.parts()["mask_head"].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        seen = []
        segmentor(picture(50, 70))
    assert prediction.queries.shape == (2, NUM_QUERIES, WIDTH[family])
    assert (segmentor.num_classes, segmentor.num_queries, segmentor.query_dim) == (NUM_CLASSES, NUM_QUERIES, WIDTH[family])
    torch.testing.assert_close(again, prediction.class_logits, rtol=1e-5, atol=1e-5)
    assert seen[-1].shape[-1] == segmentor.query_dim
    assert (prediction.image_size, prediction.padded_size) == ((50, 70), (64, 96))
    assert prediction.mask_logits.shape[-2:] == (16, 24)


def test_config_rebuilds_the_network_and_unknown_fields_are_refused(family, segmentor):
    config = json.loads(json.dumps(segmentor.config()))
    rebuilt = build_segmentor(config).eval()
    rebuilt.load_state_dict(segmentor.state_dict())
    image = picture()
    with torch.no_grad():
        assert torch.equal(rebuilt(image).mask_logits, segmentor(image).mask_logits)
    assert rebuilt.config() == config and config["model_type"] == family
    assert not any("criterion" in name or "text_mapper" in name for name in segmentor.state_dict())
    for change in ({"auto_map": {"AutoModel": "theirs.py"}}, {"num_classes": "many"}, {"image_mean": [0.5]}):
        with pytest.raises(ValueError, match=next(iter(change))):
            build_segmentor({**config, **change})
    with pytest.raises(ValueError, match="missing or unknown"):
        build_segmentor({name: value for name, value in config.items() if name != "image_std"})


def test_other_classes_reinitialize_only_the_class_head(folders, family, segmentor):
    other = load_segmentor(str(folders[family]), num_classes=9)
    head = {id(parameter) for parameter in other.parts()["class_head"].parameters()}
    before = segmentor.state_dict()
    assert other.num_classes == 9
    for name, parameter in other.named_parameters():
        assert id(parameter) in head or torch.equal(parameter, before[name]), name


def test_parts_train_by_name_and_the_rest_is_bit_equal(family, segmentor):
    assert {"backbone", "pixel_decoder", "mask_head", "class_head"} <= set(segmentor.parts())
    covered = {parameter for part in segmentor.parts().values() for parameter in part.parameters()}
    assert covered == set(segmentor.parameters())
    segmentor.set_trainable(["mask_head", "class_head"])
    before = {name: value.clone() for name, value in segmentor.state_dict().items()}
    prediction = segmentor.train()(picture())
    assert len(prediction.mask_logits_per_layer) == 2 + (family not in ("maskformer",)), "deep supervision where a head learns"
    (prediction.mask_logits_per_layer.square().mean() + prediction.class_logits_per_layer.square().mean()).backward()
    torch.optim.SGD(segmentor.parameters(), lr=0.1, weight_decay=0.1).step()
    moving = {p for name in ("mask_head", "class_head") for p in segmentor.parts()[name].parameters()}
    parameters = dict(segmentor.named_parameters())
    for name, value in segmentor.state_dict().items():
        assert torch.equal(value, before[name]) != (parameters.get(name) in moving), name
    with pytest.raises(ValueError, match="neck unknown; expected some of backbone"):
        segmentor.set_trainable(["neck"])


def test_every_trainable_parameter_gets_a_gradient(segmentor):
    """Distributed processes would wait for it; transformers' Swin ends in an unused norm."""
    segmentor.set_trainable(list(segmentor.parts()))
    prediction = segmentor.train()(picture())
    (prediction.mask_logits_per_layer.square().mean() + prediction.class_logits_per_layer.square().mean()).backward()
    trainable = {name: parameter for name, parameter in segmentor.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
    left_out = {name for name, _ in segmentor.named_parameters() if "query_updater" not in name} - set(trainable)
    assert all(
        name.endswith(("swin.layernorm.weight", "swin.layernorm.bias", "model.layernorm.weight", "model.layernorm.bias"))
        for name in left_out
    )


def test_autocast_gives_float32_near_the_exact_numbers(segmentor):
    image = picture()
    exact = segmentor(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = segmentor(image)
    for name in ("mask_logits", "class_logits", "queries"):
        found, expected = getattr(rough, name), getattr(exact, name)
        assert found.dtype == torch.float32
        assert (found - expected).abs().mean() < 0.25 * expected.std(), name


def test_zero_flow_copies_the_masks_and_interval_one_equals_the_segmentor(segmentor):
    propagator = Propagator(segmentor, CopyFlow()).eval()
    first, second = picture(40, 56), picture(40, 56)
    with torch.no_grad():
        key = segmentor(first)
        propagated, _ = propagator(first, second)
        assert torch.equal(propagated.mask_logits_per_layer, key.mask_logits_per_layer)
        assert torch.equal(propagated.class_logits_per_layer, key.class_logits_per_layer)
        stream = StreamingSegmentor(propagator, FixedInterval(1))
        state = None
        for image in (first[:1], second[:1]):
            found, state = stream.step(image, state)
            assert torch.equal(found, semantic_map(segmentor(image)))


def test_dis_and_query_flow_propagate_its_masks(segmentor):
    flow = QueryFlow(
        query_dim=segmentor.query_dim, num_queries=NUM_QUERIES, encoder_channels=(8, 8, 16, 16, 16, 16), hidden_dim=32,
        num_heads=4, ffn_dim=32, decoder_layers=1, refine_channels=(8, 8, 8, 8), mlp_dim=16,
    )  # fmt: skip
    image = picture(40, 56, batch=1)
    moved = image.roll(4, -1)
    with torch.no_grad():
        for estimator in (DISFlow(), flow):
            for parameter in estimator.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
            stream, state = StreamingSegmentor(Propagator(segmentor, estimator).eval(), FixedInterval(2)), None
            _, state = stream.step(image, state)
            found, state = stream.step(moved, state)
            assert state.age == 1 and found.shape == (1, 40, 56)
            key = segmentor(image)
            propagated, _ = Propagator(segmentor, estimator).eval().propagate(key, image, moved)
            assert not torch.equal(propagated.mask_logits, key.mask_logits)
            assert torch.equal(propagated.queries, key.queries)


def test_a_model_folder_restores_it(segmentor, tmp_path: Path):
    save_model(Propagator(segmentor, CopyFlow()), tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model")
    image = picture(40, 56)
    with torch.no_grad():
        assert torch.equal(loaded.segmentor(image).mask_logits, segmentor(image).mask_logits)
    assert type(loaded.segmentor) is type(segmentor) and loaded.segmentor.config() == segmentor.config()


def test_counting_its_cost_has_no_side_effect(segmentor):
    image = picture(64, 64, batch=1)
    with torch.no_grad():
        before = segmentor(image)
        cost = frame_cost(Propagator(segmentor, CopyFlow()), (64, 64))
        assert cost.key > 0 and cost.params_m["segmentor"] == sum(p.numel() for p in segmentor.parameters()) / 1e6
        assert torch.equal(segmentor(image).mask_logits, before.mask_logits)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "bert"},
            r"'bert' model; expected one of mask2former, maskformer, oneformer, eomt, .*, segformer, tipsv2_dpt, upernet$",
        ),
        ({}, "contains a None model"),
        ({"format": "mpvss-model"}, "model folder of this project"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path: Path, config, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_segmentor(str(tmp_path))
    with pytest.raises(ValueError, match="expected one of mask2former, maskformer, oneformer, eomt"):
        build_segmentor(config)


def test_what_cannot_be_read_is_an_error_that_names_what_to_give(tmp_path: Path):
    with pytest.raises(OSError, match="give a local folder"):
        load_segmentor(str(tmp_path / "nowhere"))


def test_queries_that_differ_from_the_arguments_are_refused(folders, family):
    folder = str(folders[family])
    assert load_segmentor(folder, num_queries=NUM_QUERIES, query_dim=WIDTH[family]).num_queries == NUM_QUERIES
    with pytest.raises(
        ValueError, match=f"num_queries={NUM_QUERIES}; expected 100; set model.segmentor.num_queries={NUM_QUERIES}"
    ):
        load_segmentor(folder, num_queries=100)
    with pytest.raises(ValueError, match=f"query_dim={WIDTH[family]}; expected 7"):
        load_segmentor(folder, query_dim=7)
