import pytest
import torch

from src.data.pairs.sampling import FixedOffsetSampling, SingleFrameSampling
from src.data.samples import PairBatch
from src.losses.disocclusion import DisocclusionLoss
from src.losses.flow import FlowLoss
from src.losses.mask_classification import MaskClassificationLoss
from src.losses.photometric import PhotometricLoss
from src.losses.visibility import VisibilityLoss
from src.models.flow import CopyFlow, FlowBranch
from src.models.propagator import Propagator
from src.models.segmentors.videomt import VideomtSegmentor
from src.structures import IGNORE_INDEX
from src.training.module import PropagationModule
from src.training.optim import AdamWPoly
from src.training.pseudo_labels import PseudoLabels
from src.training.stages import FlowStage, PropagationStage, SegmentorStage, Terms
from tests.inference.tiny import CLASSES, tiny_propagator
from tests.models.families import network
from tests.training.tiny_batch import grey, tiny_batch
from tests.training.tiny_fit import tiny_module


def set_loss() -> MaskClassificationLoss:
    return MaskClassificationLoss(len(CLASSES), num_points=64)


def gradient_parts(model: Propagator, terms: Terms) -> set[str]:
    """Return the outermost parts with a gradient."""
    model.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    leaves = {name: part for name, part in model.parts().items() if name != "segmentor"}
    return {name for name, part in leaves.items() if any(p.grad is not None and p.grad.any() for p in part.parameters())}


def trained(stage: SegmentorStage | FlowStage | PropagationStage, batch: PairBatch) -> tuple[Terms, set[str]]:
    model = tiny_propagator()
    model.set_trainable(stage.trainable)
    terms = stage.losses(model, batch)
    return terms, gradient_parts(model, terms)


def test_each_stage_trains_only_its_parts() -> None:
    whole = {"segmentor.backbone", "segmentor.pixel_decoder", "segmentor.transformer_decoder", "segmentor.mask_head"}
    terms, parts = trained(SegmentorStage(set_loss()), tiny_batch())
    assert (set(terms), parts) == ({"class", "mask", "dice"}, whole | {"segmentor.class_head"})
    terms, parts = trained(FlowStage(FlowLoss()), tiny_batch())
    assert (set(terms), parts) == ({"pixel_flow", "segment_flow"}, {"flow"})
    # The mask head lies inside the transformer decoder.
    heads = {"segmentor.mask_head", "segmentor.class_head", "segmentor.transformer_decoder"}
    terms, parts = trained(PropagationStage(set_loss()), tiny_batch())
    assert (set(terms), parts) == ({"class", "mask", "dice"}, {"flow"} | heads)
    terms, _ = trained(PropagationStage(set_loss(), FlowLoss()), tiny_batch())
    assert set(terms) == {"class", "mask", "dice", "pixel_flow", "segment_flow"}


def test_the_flow_of_the_image_trains_without_the_segmentor(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_propagator("correlation"), tiny_batch()
    monkeypatch.setattr(model.segmentor, "forward", lambda image: pytest.fail("the segmentor ran"))
    terms = FlowStage(FlowLoss(), VisibilityLoss(), DisocclusionLoss()).losses(model, batch)
    assert set(terms) == {"pixel_flow", "segment_flow", "visibility", "disocclusion"} and terms["segment_flow"] == 0
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in model.flow.parameters())


def test_unlabelled_video_supervises_the_flow_through_the_photometric_loss() -> None:
    """Without labels and true flow, only pseudo-labels and the photometric loss supervise."""
    model, batch = tiny_propagator("correlation"), tiny_batch()
    model.set_trainable(["flow"])
    blank = batch._replace(
        nonkey_label=torch.full_like(batch.nonkey_label, IGNORE_INDEX),
        flow=torch.full((2, 2, *batch.nonkey_label.shape[-2:]), torch.nan),
    )
    nothing = PropagationStage(set_loss(), FlowLoss(), trainable=["flow"])
    taught = PropagationStage(
        set_loss(),
        FlowLoss(),
        disocclusion=DisocclusionLoss(),
        photometric=PhotometricLoss(),
        pseudo_labels=PseudoLabels(0.0),
        trainable=["flow"],
    )
    assert nothing.losses(model, blank)["mask"].item() == 0
    terms = taught.losses(model, blank)
    assert {name for name, value in terms.items() if value > 0} == {
        "class", "mask", "dice", "disocclusion", "photometric", "smoothness",
    }  # fmt: skip
    assert gradient_parts(model, terms) == {"flow"}


def test_detail_branch_is_supervised_only_by_the_true_flow() -> None:
    model, batch = tiny_propagator("correlation"), tiny_batch()
    assert FlowBranch.DETAIL in PropagationStage(set_loss()).unsupervised
    for stage in (FlowStage(FlowLoss()), PropagationStage(set_loss(), FlowLoss())):
        model.zero_grad()
        stage.losses(model, batch)["pixel_flow"].backward()
        assert FlowBranch.DETAIL not in stage.unsupervised
        assert all(p.grad is not None for p in model.flow.branches()[FlowBranch.DETAIL].parameters())


def test_segmentor_stage_runs_only_on_the_labelled_frame() -> None:
    model, batch, stage = tiny_propagator(), tiny_batch(), SegmentorStage(set_loss())
    assert stage.losses(model, batch) == stage.losses(model, grey(batch))
    assert stage.losses(model, batch) != stage.losses(model, grey(batch._replace(nonkey_image=batch.key_image)))
    assert stage.losses(model, batch) != stage.losses(model, batch._replace(nonkey_label=batch.nonkey_label.flip(-1)))
    outcome = stage.predict(model, batch)
    assert torch.equal(outcome.nonkey.mask_logits, model.segmentor(batch.nonkey_image).mask_logits)
    assert outcome.flow is None and outcome.key is None


def test_propagation_is_validated_on_masks_warped_from_the_key_frame() -> None:
    model, batch, stage = tiny_propagator(), tiny_batch(), PropagationStage(set_loss())
    outcome = stage.predict(model, batch)
    carried, flow = model(batch.key_image, batch.nonkey_image)
    assert torch.equal(outcome.nonkey.mask_logits, carried.mask_logits)
    assert torch.equal(outcome.flow.segment_flow, flow.segment_flow)
    assert torch.equal(outcome.key.mask_logits, model.segmentor(batch.key_image).mask_logits)
    assert not torch.equal(outcome.key.mask_logits, outcome.nonkey.mask_logits)
    # Every decoder layer is judged, on its carried masks.
    torch.testing.assert_close(
        stage.losses(model, batch), set_loss()(carried, batch.nonkey_label, batch.sample_id), rtol=0, atol=0
    )
    assert stage.losses(model, grey(batch)) != stage.losses(model, batch)


def test_flow_loss_of_propagation_is_weighted() -> None:
    model, batch = tiny_propagator(), tiny_batch()
    once, thrice = (PropagationStage(set_loss(), FlowLoss(), weight).losses(model, batch) for weight in (1.0, 3.0))
    alone = FlowStage(FlowLoss()).losses(model, batch)
    for name in ("pixel_flow", "segment_flow"):
        torch.testing.assert_close(once[name], alone[name])
        torch.testing.assert_close(thrice[name], 3 * alone[name])
    assert once["mask"] == thrice["mask"]


def test_flow_stage_has_no_gradient_through_the_segmentor() -> None:
    model, batch, stage = tiny_propagator(), tiny_batch(), FlowStage(FlowLoss())
    terms = stage.losses(model, batch)
    torch.stack(list(terms.values())).sum().backward()
    # Even where nothing is frozen: the queries and memberships are targets, not variables.
    assert all(p.grad is None for p in model.segmentor.parameters())


@pytest.mark.parametrize("stage", [FlowStage(FlowLoss()), PropagationStage(set_loss(), FlowLoss())])
def test_batch_without_true_flow_is_refused_by_supervised_flow(stage: FlowStage | PropagationStage) -> None:
    with pytest.raises(ValueError, match=r"clip\d/\d->\d has no true flow; expected data=moving_scenes, or stills"):
        stage.losses(tiny_propagator(), tiny_batch(flow=None))


def test_frame_paired_with_itself_keeps_its_masks_under_zero_flow() -> None:
    model = tiny_propagator("copy")
    batch = tiny_batch(SingleFrameSampling())
    outcome = PropagationStage(set_loss()).predict(model, batch)
    assert torch.equal(outcome.nonkey.mask_logits, SegmentorStage(set_loss()).predict(model, batch).nonkey.mask_logits)


@pytest.mark.parametrize("flow", ["query", "pixel", "correlation"])
@pytest.mark.parametrize("kind", ["segmentor", "flow", "taught flow", "propagation", "taught propagation"])
def test_every_trainable_parameter_has_a_gradient(flow: str, kind: str) -> None:
    """DDP waits for all gradients (find_unused_parameters: false)."""
    if flow != "correlation" and kind.startswith("taught"):
        pytest.skip("this estimator has no such branch")
    taught = {"visibility": VisibilityLoss(), "disocclusion": DisocclusionLoss()}
    stage = {
        "segmentor": lambda: SegmentorStage(set_loss()),
        "flow": lambda: FlowStage(FlowLoss()),
        "taught flow": lambda: FlowStage(FlowLoss(), **taught),
        "propagation": lambda: PropagationStage(set_loss()),
        "taught propagation": lambda: PropagationStage(set_loss(), FlowLoss(), **taught),
    }[kind]()
    module = tiny_module(stage, flow=flow)
    torch.stack(list(stage.losses(module.propagator, tiny_batch()).values())).sum().backward()
    training = {name: p.grad for name, p in module.propagator.named_parameters() if p.requires_grad}
    assert len(training) > 5 and not [name for name, gradient in training.items() if gradient is None]


@pytest.mark.parametrize("parts", [["segmentor"], ["segmentor.mask_head"], []])
def test_flow_stage_without_a_trainable_flow_is_refused(parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"stage\.objective\.trainable is .*; expected flow"):
        FlowStage(FlowLoss(), trainable=parts)


def test_a_recurrent_stage_trains_a_pair_as_a_clip_of_two_frames() -> None:
    segmentor = VideomtSegmentor(network("videomt"))
    loss = MaskClassificationLoss(segmentor.num_classes, num_points=64)
    model, batch = Propagator(segmentor, CopyFlow()), tiny_batch(FixedOffsetSampling(-3))
    stage = SegmentorStage(loss, recurrent=True)
    PropagationModule(model, stage, AdamWPoly(lr=1e-3), segmentor.num_classes, {})
    terms = stage.losses(model, batch)
    alone = SegmentorStage(loss).losses(model, batch)
    second = loss(segmentor(batch.nonkey_image, segmentor(batch.key_image).memory), batch.nonkey_label, batch.sample_id)
    assert all(torch.allclose(terms[name], (alone[name] + second[name]) / 2) for name in ("class", "mask", "dice"))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in segmentor.parameters() if p.requires_grad)
    assert segmentor.network.query_updater.weight.grad.abs().max() > 0
    found = stage.predict(model.eval(), batch).nonkey.mask_logits
    assert not torch.equal(found, SegmentorStage(loss).predict(model, batch).nonkey.mask_logits)
    with pytest.raises(ValueError, match="the segmentor a Mask2FormerSegmentor; expected a VidEoMT"):
        tiny_module(SegmentorStage(set_loss(), recurrent=True))
