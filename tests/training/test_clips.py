"""Laws of the training of clip segmentors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.data.pairs.dataset import PairDataset, collate_pairs, finalize_batch
from src.data.pairs.sampling import ClipSampling
from src.data.samples import PairBatch
from src.losses.clip_segmentation import ClipSegmentationLoss
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.training.checkpointing.nonfinite import NonFiniteStep
from src.training.clips import ClipModule, ClipStage, build_clip_segmentor, clip_frames
from src.training.optim import ClipAdamW
from src.weights.clip_folder import load_clip_model
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator
from tests.training.tiny_batch import tiny_batch
from tests.training.tiny_clips import tiny_clip_module, tiny_clip_segmentor, tiny_clips
from tests.training.tiny_fit import tiny_trainer


def clips(size: tuple[int, int] = (64, 96), count: int = 2) -> PairBatch:
    pairs = PairDataset(FakeClips((11, 10), size), ClipSampling(), num_samples=count, seed=0)
    return finalize_batch(collate_pairs([pairs[number] for number in range(count)]))


def test_every_parameter_gets_a_gradient_and_steps_reduce_the_loss() -> None:
    torch.manual_seed(0)
    module, batch = tiny_clip_module().train(), clips()
    optimizer = torch.optim.Adam(module.segmentor.parameters(), 3e-3)
    found = []
    for _ in range(8):
        optimizer.zero_grad()
        terms = module.losses(batch)
        assert set(terms) == {"frames", "clip"}
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        assert all(parameter.grad is not None for parameter in module.segmentor.parameters())
        optimizer.step()
        found.append(total.item())
    assert found[-1] < found[0]


def test_a_clip_is_its_references_and_then_the_target() -> None:
    batch = clips()
    frames = clip_frames(batch, 4)
    assert frames.shape == (2, 4, 3, 64, 96)
    assert torch.equal(frames[:, 0], batch.key_image) and torch.equal(frames[:, 3], batch.nonkey_image)
    for wrong, found in ((tiny_batch(), 2), (batch, 4)):
        with pytest.raises(ValueError, match=f"has {found} frames; expected clips of 3; choose such a sampling of frames"):
            clip_frames(wrong, 3)


def test_validation_labels_frames_of_any_size_like_the_network_at_its_own() -> None:
    module = tiny_clip_module().eval()
    batch = clips((64, 96), 1)
    frames = clip_frames(batch, 4)
    with torch.no_grad():
        logits = module.segmentor(frames).clip_logits[:, -1]
        expected = torch.nn.functional.interpolate(logits, size=(64, 96), mode="bilinear").argmax(1)
        assert torch.equal(module.validation_step(batch, 0)["labels"], expected)
        odd = module.validation_step(clips((70, 100), 1), 0)["labels"]
    assert odd.shape == (1, 70, 100)


def test_a_resumed_run_ends_with_the_same_weights_and_a_checkpoint_is_a_model(tmp_path: Path) -> None:
    def fit(folder: Path, checkpoint: Path | None) -> dict[str, torch.Tensor]:
        module = tiny_clip_module()
        tiny_trainer(folder, 4, 2).fit(module, datamodule=tiny_clips(4), ckpt_path=checkpoint)
        assert 0 <= module.trainer.callback_metrics["val/miou"] <= 1
        return {name: value.clone() for name, value in module.segmentor.state_dict().items()}

    whole = fit(tmp_path / "whole", None)
    resumed = fit(tmp_path / "resumed", next((tmp_path / "whole").glob("*2.ckpt")))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    loaded, metadata = load_clip_model(next((tmp_path / "whole").glob("*4.ckpt")))
    assert metadata == {"classes": list(CLASSES)} and not loaded.training
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in whole.items())


def test_a_clip_of_a_failed_step_is_saved_and_read(tmp_path: Path) -> None:
    tmp_path.joinpath("step").mkdir()
    NonFiniteStep(clips(), 3, "broken").write(tmp_path / "step")
    read = NonFiniteStep.read(tmp_path / "step").batch
    assert torch.equal(clip_frames(read, 4), clip_frames(clips(), 4))
    assert read.reference_labels is not None and read.reference_labels.shape == (2, 3, 64, 96)


def test_a_training_starts_from_one_network_with_the_classes_of_the_data(tmp_path: Path) -> None:
    segmentor = tiny_clip_segmentor()
    tiny_clip_module().save(segmentor, tmp_path / "model")
    assert build_clip_segmentor(segmentor, None, 4) is segmentor
    loaded = build_clip_segmentor(None, str(tmp_path / "model"), 4)
    assert isinstance(loaded, MrcfaSegmentor)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in segmentor.state_dict().items())
    stage = ClipStage(ClipSegmentationLoss(), trainable=["head"])
    assert not loaded.training and ClipModule(loaded, stage, ClipAdamW(), 4, {}).segmentor is loaded
    assert loaded.head.training and not loaded.encoder.training
    with pytest.raises(ValueError, match="the clip segmentor has 4 classes; expected the data's 5"):
        build_clip_segmentor(segmentor, None, 5)
    with pytest.raises(ValueError, match=r"stage.segmentor=fresh; expected one of them"):
        build_clip_segmentor(segmentor, str(tmp_path / "model"), 4)
    with pytest.raises(ValueError, match=r"stage\.segmentor is a Mask2FormerSegmentor; expected a clip segmentor"):
        build_clip_segmentor(tiny_propagator().segmentor, None, 4)
