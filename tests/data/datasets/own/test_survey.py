"""Laws of the survey: the source of motion follows the time between frames, and crops fit into all frames."""

from pathlib import Path

import pytest
from PIL import Image

from src.data.datasets.folder import FolderClips
from src.data.datasets.own.survey import Survey, survey
from tests.data.own_layout import write_own_data


@pytest.mark.parametrize(
    ("fps", "every", "numbers", "paired", "source"),
    [
        (25, 1, range(1, 5), 6, "frames"),
        (25, 3, range(1, 5), 2, "frames"),  # both videos' fourth frame; the first has none before it
        (1, 1, range(1, 5), 0, "stills"),
        (25, 1, range(30, 150, 30), 0, "stills"),
        (25, 1, range(5, 25, 5), 6, "frames"),
    ],
)
def test_motion_is_from_frames_that_are_close_in_time(
    tmp_path: Path, fps: int, every: int, numbers: range, paired: int, source: str
) -> None:
    root = write_own_data(tmp_path, ["a", "b"], num_frames=4, every=every)
    (root / "classes.yaml").write_text(f"fps: {fps}\nclasses: [road, sky, car]")
    for old, new in sorted(zip(range(1, 5), numbers, strict=True), reverse=True):
        for path in list(root.rglob(f"{old:06d}.*")):
            path.rename(path.with_stem(f"drive_{new}"))
    found = survey(FolderClips(root))
    assert (found.paired, found.motion_from) == (paired, source)


def test_the_crop_is_within_the_smallest_frames(tmp_path: Path) -> None:
    root = write_own_data(tmp_path, ["a"], num_frames=1, size=(100, 90))
    (root / "frames/b").mkdir()
    Image.new("RGB", (500, 70)).save(root / "frames/b/1.png")
    (root / "classes.yaml").write_text("classes: [road, sky, car]")
    found = survey(FolderClips(root))
    assert found.smallest == (70, 90) and found.crop_size == (64, 64)
    assert Survey(1, 1, (1080, 300)).crop_size == (320, 288) and Survey(0, 0, (20, 20)).crop_size == (32, 32)
