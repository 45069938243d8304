from pathlib import Path

import pytest

from src.files import own_package
from src.files.own_package import own_target, package_path


def test_files_of_a_checkout_are_beside_the_package_and_installed_ones_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (package_path("conf") / "train.yaml").is_file()
    (tmp_path / "conf").mkdir()
    (tmp_path / "mpvss" / "conf").mkdir(parents=True)
    monkeypatch.setattr(own_package, "_FOLDER", tmp_path / "mpvss")
    assert package_path("conf") == tmp_path / "mpvss" / "conf"
    assert package_path("assets") == tmp_path / "assets"


@pytest.mark.parametrize(
    "name, here",
    [
        ("mpvss.training.optim.AdamWPoly", "src.training.optim.AdamWPoly"),
        ("src.training.optim.AdamWPoly", "src.training.optim.AdamWPoly"),
        ("lightning.Trainer", "lightning.Trainer"),
        ("mpvss_extra.Flow", "mpvss_extra.Flow"),
        ("mpvss", "mpvss"),
    ],
)
def test_only_names_of_the_package_are_resolved(name: str, here: str) -> None:
    assert own_target(name) == here
