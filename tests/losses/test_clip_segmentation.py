import pytest
import torch
import torch.nn.functional as F

from src.losses.clip_segmentation import ClipSegmentationLoss
from src.structures import IGNORE_INDEX


def clip() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 5, (2, 4, 8, 12))
    labels[:, :, :2] = IGNORE_INDEX
    return torch.randn(2, 4, 5, 4, 6), torch.randn(2, 4, 5, 4, 6), labels


def test_frames_have_their_own_labels_and_clips_the_target_s() -> None:
    frame_logits, clip_logits, labels = clip()
    found = ClipSegmentationLoss()(frame_logits, clip_logits, labels)

    def entropy(logits: torch.Tensor, label: torch.Tensor) -> float:
        resized = F.interpolate(logits, scale_factor=2, mode="bilinear")
        return float(F.cross_entropy(resized, label, ignore_index=IGNORE_INDEX, reduction="none").mean())

    frames = [entropy(frame_logits[:, t], labels[:, t]) for t in range(4)]
    clips = [entropy(clip_logits[:, t], labels[:, 3]) for t in range(4)]
    assert float(found["frames"]) == pytest.approx(0.5 * sum(frames) / 4, rel=1e-5)
    assert float(found["clip"]) == pytest.approx(sum(clips) / 4, rel=1e-5)
    target = ClipSegmentationLoss(frames="target")(frame_logits, clip_logits, labels)
    assert float(target["frames"]) == pytest.approx(0.5 * frames[3], rel=1e-5)
    assert torch.equal(target["clip"], found["clip"])


def test_pixels_without_a_class_count_in_the_mean_and_have_no_gradient() -> None:
    frame_logits, clip_logits, labels = clip()
    clip_logits.requires_grad_()
    half = torch.where(torch.arange(12) < 6, labels, IGNORE_INDEX)
    loss = ClipSegmentationLoss(frame_weight=0.0)
    right = torch.where(torch.arange(12) >= 6, labels, IGNORE_INDEX)
    parts = [loss(frame_logits, clip_logits, part)["clip"].item() for part in (half, right)]
    assert sum(parts) == pytest.approx(loss(frame_logits, clip_logits, labels)["clip"].item(), rel=1e-5)
    void = loss(frame_logits, clip_logits, torch.full_like(labels, IGNORE_INDEX))["clip"]
    void.backward()
    assert void == 0 and clip_logits.grad is not None and not clip_logits.grad.any()


def test_unknown_frames_are_an_error() -> None:
    with pytest.raises(ValueError, match="frames is 'some'; expected one of all, target"):
        ClipSegmentationLoss(frames="some")  # type: ignore[arg-type]
