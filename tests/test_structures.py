"""Laws of the shared types: a clip pairs every image with its label, and the final layer is the last one."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch

from src.data.samples import PairBatch, PairSample
from src.structures import Clip, MaskPrediction


def clip_of(*labelled: bool) -> Clip:
    images = tuple(Path(f"{i:05d}.jpg") for i in range(len(labelled)))
    labels = tuple(Path(f"{i:05d}.png") if has_label else None for i, has_label in enumerate(labelled))
    return Clip("drive", images, labels)


def prediction_of(layers: int) -> MaskPrediction:
    return MaskPrediction(
        class_logits_per_layer=torch.randn(layers, 2, 5, 4),
        mask_logits_per_layer=torch.randn(layers, 2, 5, 8, 8),
        queries=torch.randn(2, 5, 16),
        image_size=(30, 28),
        padded_size=(32, 32),
    )


def test_labelled_frames_have_a_label() -> None:
    assert clip_of(False, True, True, False, True).labelled_frames == (1, 2, 4)
    assert clip_of(False, False).labelled_frames == ()
    assert len(clip_of(False, True, True)) == 3


def test_a_clip_of_unequal_lists_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="clip drive has 2 images and 1 labels"):
        Clip("drive", (Path("0.jpg"), Path("1.jpg")), (None,))


def test_the_final_layer_is_the_last() -> None:
    prediction = prediction_of(layers=3)
    assert torch.equal(prediction.class_logits, prediction.class_logits_per_layer[2])
    assert torch.equal(prediction.mask_logits, prediction.mask_logits_per_layer[2])

    final = prediction.final_layer()
    assert final.class_logits_per_layer.shape == (1, 2, 5, 4)
    assert final.mask_logits_per_layer.shape == (1, 2, 5, 8, 8)
    assert torch.equal(final.class_logits, prediction.class_logits)
    assert torch.equal(final.mask_logits, prediction.mask_logits)
    assert final.queries is prediction.queries
    assert (final.image_size, final.padded_size) == (prediction.image_size, prediction.padded_size)


def test_predictions_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        prediction_of(1).image_size = (1, 1)  # type: ignore[misc]


def test_a_batch_has_the_fields_of_its_samples_with_their_names() -> None:
    renamed = {"name": "names"}
    assert {renamed.get(field, field) for field in PairSample._fields} <= set(PairBatch._fields)


def test_lightning_moves_a_batch_and_keeps_its_kind() -> None:
    from lightning.fabric.utilities import move_data_to_device

    image, label = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.int64)
    ids = torch.zeros(1, dtype=torch.int64)
    for flow in (None, torch.zeros(1, 2, 4, 4)):
        batch = PairBatch(image, image, label, flow, ids, ids, ["drive/1->4"])
        moved = move_data_to_device(batch, torch.device("meta"))
        assert isinstance(moved, PairBatch)
        assert moved.key_image.device.type == "meta"
        assert moved.names == ["drive/1->4"]
        assert (moved.flow is None) == (flow is None) and moved.after_image is None
        moved = move_data_to_device(batch._replace(after_image=image, after_offset=ids), torch.device("meta"))
        assert moved.after_image.device.type == moved.after_offset.device.type == "meta"
