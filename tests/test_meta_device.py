"""Law: no tensor is created on the wrong device, tested with the whole model of vspw_swinl on the meta device.

The meta device has shapes and no values, so code that runs here reads none and never waits for a GPU. The pixel decoder in train
mode and the matching do read values: the segmentor is in eval mode, and the loss gets a fixed assignment.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hydra.utils import instantiate

from src.losses.mask_classification import MaskClassificationLoss
from src.losses.point_sampling import sample_points
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.structures import MaskPrediction
from tests.tiny_run import compose_train

SIZE, CLASSES, QUERIES = (480, 853), 124, 100
META = torch.device("meta")


@pytest.fixture(scope="module")
def propagator() -> Propagator:
    cfg = deepcopy(compose_train("experiment=vspw_swinl"))
    cfg.model.segmentor.pretrained_backbone = False
    with META:
        return Propagator(instantiate(cfg.model.segmentor), instantiate(cfg.model.flow), cfg.model.warp_grid).eval().to(META)


@torch.inference_mode()
def test_segmentor_flow_warp_and_label_map_stay_on_their_device(propagator: Propagator) -> None:
    assert all(tensor.is_meta for tensor in (*propagator.parameters(), *propagator.buffers()))
    image = torch.empty(1, 3, *SIZE, dtype=torch.uint8, device=META)
    key = propagator.segmentor(image)
    propagated, flow = propagator.propagate(key, image, image)
    for made in (key.queries, key.class_logits, flow.segment_flow, propagated.mask_logits, *flow.pixel_flows):
        assert made.is_meta
    assert propagated.mask_logits.shape == (1, QUERIES, 120, 216)
    for size in (SIZE, (1080, 1920), (300, 853)):
        label_map = semantic_map(propagated, size)
        assert label_map.is_meta and label_map.shape == (1, *size)


@pytest.mark.parametrize("void", ["ignore", "negative"])
def test_the_loss_of_a_fixed_assignment_stays_on_its_device(void: str) -> None:
    cfg = compose_train("experiment=vspw_swinl", f"mask_loss.void={void}")
    loss: MaskClassificationLoss = instantiate(cfg.mask_loss).to(META)
    batch, layers = 2, 10
    prediction = MaskPrediction(
        torch.empty(layers, batch, QUERIES, CLASSES + 1, device=META, requires_grad=True),
        torch.empty(layers, batch, QUERIES, 120, 120, device=META, requires_grad=True),
        torch.empty(batch, QUERIES, 256, device=META), (480, 480), (480, 480),
    )  # fmt: skip
    label = torch.empty(batch, 480, 480, dtype=torch.uint8, device=META)
    present = [torch.empty(3, dtype=torch.int64, device=META), torch.empty(5, dtype=torch.int64, device=META)]
    matches = [torch.empty(layers, 2, len(classes), dtype=torch.int64, device=META) for classes in present]
    settings = loss.num_points, loss.oversample_ratio, loss.importance_ratio
    samples = [sample_points(0, number, layers, *settings).to(META) for number in range(batch)]
    mask, dice = loss._mask_losses(prediction, label, present, samples, matches)
    total = mask + dice + loss._class_loss(prediction.class_logits_per_layer, present, matches)
    total.backward()
    assert total.is_meta and prediction.mask_logits_per_layer.grad is not None
    assert prediction.class_logits_per_layer.grad is not None


def test_a_tensor_on_another_device_is_an_error(propagator: Propagator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagator.segmentor, "image_mean", torch.zeros(3, 1, 1))
    with pytest.raises(RuntimeError, match="device"):
        propagator.segmentor(torch.empty(1, 3, 64, 96, device=META))
