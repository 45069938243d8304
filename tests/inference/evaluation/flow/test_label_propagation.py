import pytest
import torch

from src.data.clips import ClipDataset
from src.inference.evaluation.flow.label_propagation import label_pairs, propagate_labels
from src.inference.evaluation.flow.method import FlowMethod
from src.metrics.iou import MeanIoU
from src.models.flow import CopyFlow
from src.structures import IGNORE_INDEX
from tests.inference.known_flow import ConstantFlow
from tests.inference.tiny import FakeClips


def test_pairs_are_all_labelled_frames_at_the_offset() -> None:
    data = FakeClips((5, 3), unlabelled=frozenset({1}))
    assert label_pairs(data, [1]) == [(0, 2, 3), (0, 3, 4)]
    assert label_pairs(data, [2, 4]) == [(0, 0, 2), (0, 0, 4), (0, 2, 4), (1, 0, 2)]
    assert label_pairs(data, [1, 2], target_stride=2) == [(0, 0, 2), (0, 2, 4), (0, 3, 4), (1, 0, 2)]


def test_the_true_flow_warps_labels_without_error() -> None:
    """Two pixels a frame to the right; what enters at the left edge is not in the key frame."""

    class Inner(FakeClips):
        def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
            label = super().read_label(clip, frame, dtype)
            # What an offset of two frames cannot know is not judged.
            label[:, :4] = IGNORE_INDEX
            return label

    data = Inner((6,))
    for offset, flow in ((1, -2.0), (2, -4.0)):
        (score,) = propagate_labels(FlowMethod(ConstantFlow(flow)), data, [offset])
        assert (score.offset, score.miou, score.wiou, score.pairs) == (offset, 1.0, 1.0, 6 - offset)
        for wrong in (0.0, -flow, flow + 1):
            (other,) = propagate_labels(FlowMethod(ConstantFlow(wrong)), data, [offset])
            assert other.miou < 1


def test_copying_scores_the_unwarped_labels_without_void() -> None:
    data: ClipDataset = FakeClips((5, 4))
    seen: list[tuple[int, int]] = []
    scores = propagate_labels(FlowMethod(CopyFlow()), data, [3, 1], progress=lambda done, total: seen.append((done, total)))
    assert [score.offset for score in scores] == [3, 1] and seen[-1] == (10, 10) and len(seen) == 10
    for score in scores:
        expected = MeanIoU(4)
        for clip, length in enumerate((5, 4)):
            for target in range(score.offset, length):
                old, new = data.read_label(clip, target - score.offset), data.read_label(clip, target)
                both = (old != IGNORE_INDEX) & (new != IGNORE_INDEX)
                expected.update(old[both][None], new[both][None])
        assert score.miou == expected.compute()["miou"].item() and score.pairs == {3: 3, 1: 7}[score.offset]
        assert score.iou_per_class == tuple(expected.compute()["iou_per_class"].tolist())


@pytest.mark.parametrize(
    "offsets, message",
    [
        ([], "offsets"),
        ([0], "offsets"),
        ([2, 2], "expected different offsets"),
        ([1, 6], "no two labelled frames of a clip are 6 frames apart"),
    ],
)
def test_invalid_offsets_are_refused(offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_pairs(FakeClips((6, 4)), offsets)


def test_camvid_scores_are_reproduced(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Copying over three frames of CamVid's clip: .6299 by a count of pixels that shares no code with this."""
    from src.data.datasets.camvid import CamVid

    (score,) = propagate_labels(FlowMethod(CopyFlow()), CamVid(shared_data / "camvid", "test"), [3], target_stride=3)
    assert score.miou == pytest.approx(0.6299, abs=5e-5) and score.pairs == 16
