"""Laws of flow pictures: pairs are spread over the clips, and pixels without a source are marked."""

from pathlib import Path

from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.flow.pictures import propagate_label, write_flow_pictures
from src.models.flow import CopyFlow
from tests.inference.known_flow import ConstantFlow
from tests.inference.tiny import FakeClips

METHODS = {"copy": FlowMethod(CopyFlow()), "true": FlowMethod(ConstantFlow(-2.0))}


def test_pictures_are_of_pairs_spread_over_the_clips(tmp_path: Path) -> None:
    data = FakeClips((9, 5))
    files = write_flow_pictures(METHODS, data, tmp_path / "pictures", offset=2, pairs=3)
    assert [file.name for file in files] == ["clip0_00003_offset_2.png", "clip0_00007_offset_2.png", "clip1_00003_offset_2.png"]
    assert all(file.is_file() for file in files)


def test_pixels_that_enter_at_the_edge_are_disoccluded() -> None:
    data = FakeClips((3,))
    key, image, label = data.read_image(0, 1), data.read_image(0, 2), data.read_label(0, 1)

    class Both(ConstantFlow):
        """Right in both directions."""

        def forward(self, key_image, nonkey_image, queries, *rest):  # type: ignore[no-untyped-def]
            self.vector = (-2.0 if key_image[0].equal(key) else 2.0), 0.0
            return super().forward(key_image, nonkey_image, queries)

    found = propagate_label(FlowMethod(Both(0.0)), key, image, label, 4)
    assert found.disoccluded[:, :2].all() and not found.disoccluded[:, 2:].any()
    assert (found.label[:, 2:] == label[:, :-2]).all()
