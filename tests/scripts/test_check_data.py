import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from rich.console import Console

from scripts.check_data import check, refuse_existing
from src.data.datasets.vspw import VSPW
from tests.conftest import ROOT
from tests.data.fake_layouts import label, write_image, write_label, write_vspw

COMMAND = [sys.executable, str(ROOT / "scripts" / "check_data.py")]


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        write_vspw(tmp_path / "data set", {f"{split}_a": ["1", "4"], f"{split}_b": ["0"]}, split=split)
    return tmp_path / "data set"


def run_check(tmp_path, *overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("check_data", [f"paths.runs={tmp_path}", "workers=0", *overrides])
    with Console(file=(tmp_path / "printed.txt").open("w"), width=160) as console:
        return check(cfg, console)


def test_the_command_reports_and_exits_with_0_for_a_complete_copy(root, tmp_path):
    """Run as a user would, from another folder, with a path that Hydra's grammar refuses."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "data=vspw", f"data.root={root}", "workers=0"]
    sound = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "train" in sound.stdout and "val/test" in sound.stdout
    report = json.loads((tmp_path / "outputs/check_data/vspw.json").read_text())
    assert (report["issues"], report["splits"]["train"]["frames"]) == (0, 3)


@pytest.mark.parametrize(("arguments", "code", "text"), [(["--help"], 0, "exclusion "), ([], 2, "data: not given")])
def test_without_a_dataset_the_error_names_the_option(tmp_path, arguments, code, text):
    run = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (run.returncode, text in run.stdout + run.stderr) == (code, True), run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_issues_are_counted_listed_and_can_be_excluded(root, tmp_path):
    (root / "data/val_a/origin/4.jpg").write_bytes(b"")
    (root / "train.txt").write_text("train_a\ngone\ntrain_b")
    assert run_check(tmp_path, "data=vspw", f"data.root='{root}'") == 2
    report = json.loads((tmp_path / "check_data/vspw.json").read_text())
    issues = {name: [(f["kind"], f["path"]) for f in split["issues"]] for name, split in report["splits"].items()}
    assert issues == {"train": [("dangling", "train.txt")], "val/test": [("empty", "data/val_a/origin/4.jpg")]}
    printed = (tmp_path / "printed.txt").read_text()
    assert "val_a/origin/4.jpg is empty" in printed and "2806" in printed
    exclude = tmp_path / "check_data/vspw_exclude.json"
    assert len(VSPW(root, "train", exclude=exclude).clips) == 2
    again = ["overwrite=true", f"output={tmp_path}/new.json", f"exclusion={tmp_path}/new_list.json"]
    assert run_check(tmp_path, "data=vspw", f"data.root='{root}'", f"data.exclude={exclude}", *again) == 0


def test_classes_are_listed_suspicions_counted_apart_and_frames_drawn(tmp_path):
    for n in range(3):
        write_image(tmp_path / f"mine/frames/v/{n}.png", value=n)
        write_label(tmp_path / f"mine/masks/v/{n}.png", label(1, 2, 3))
    (tmp_path / "mine/classes.yaml").write_text("classes: [road, car, tree, sky, pole]")
    for split in ("train", "val"):
        (tmp_path / f"mine/{split}.txt").write_text("v")
    assert run_check(tmp_path, "data=folder", f"data.root={tmp_path}/mine", "splits=[train]") == 0
    report = json.loads((tmp_path / "check_data/folder.json").read_text())
    assert (report["issues"], report["suspicions"]) == (0, 1)
    train = report["splits"]["train"]
    assert train["absent_classes"] == ["road", "pole"]
    assert {name: one["frames"] for name, one in train["classes"].items()} == {
        "road": 0, "car": 3, "tree": 3, "sky": 3, "pole": 0, "void": 0,
    }  # fmt: skip
    assert [one["kind"] for one in train["suspicions"]] == ["off_by_one"]
    printed = (tmp_path / "printed.txt").read_text()
    assert "train, suspicion, off_by_one: class 'road' (value 0) never occurs" in printed
    assert "train: 2 of 5 classes never occur: road, pole" in printed and "check_data/folder.png" in printed
    with Image.open(tmp_path / "check_data/folder.png") as sheet:
        assert sheet.width > 3 * 140 and sheet.height > 3 * 100


def test_a_jpeg_mask_is_an_issue_and_excludable(root, tmp_path):
    mask = root / "data/val_a/mask/4.png"
    Image.open(mask).save(mask, "JPEG")
    assert run_check(tmp_path, "data=vspw", f"data.root='{root}'", "splits=[val]") == 1
    (issue,) = json.loads((tmp_path / "check_data/vspw.json").read_text())["splits"]["val"]["issues"]
    assert (issue["kind"], issue["path"]) == ("lossy", "data/val_a/mask/4.png")


def test_a_report_of_the_same_folder_is_replaced_and_no_other_file(root, tmp_path):
    (tmp_path / "check_data").mkdir()
    report, exclusion = (tmp_path / "check_data" / name for name in ("vspw.json", "vspw_exclude.json"))
    report.write_text("old")
    for overwrite in ("false", "true"):
        with pytest.raises(FileExistsError, match=r"vspw\.json is no report of check_data"):
            run_check(tmp_path, "data=vspw", f"data.root='{root}'", f"overwrite={overwrite}")
    assert report.read_text() == "old"
    report.unlink()
    for splits, count in (("[train,val]", 2), ("[val]", 1)):
        assert run_check(tmp_path, "data=vspw", f"data.root='{root}'", f"splits={splits}") == 0
        assert len(json.loads(report.read_text())["splits"]) == count
    other = root.rename(tmp_path / "other")
    with pytest.raises(FileExistsError, match=r"vspw\.json is a result of .*data set; expected one of .*other"):
        run_check(tmp_path, "data=vspw", f"data.root='{other}'")
    assert run_check(tmp_path, "data=vspw", f"data.root='{other}'", "overwrite=true") == 0
    with pytest.raises(ValueError, match=r"the list of data\.exclude; expected another file"):
        run_check(tmp_path, "data=vspw", f"data.root='{other}'", f"data.exclude={exclusion}")
    report.unlink()
    with pytest.raises(FileExistsError, match=r"vspw_exclude\.json is a result without its report"):
        exclusion.with_name("vspw.png").unlink()
        run_check(tmp_path, "data=vspw", f"data.root='{other}'")
    exclusion.write_text("[]")
    with pytest.raises(FileExistsError, match=r"vspw_exclude\.json is no report of check_data"):
        run_check(tmp_path, "data=vspw", f"data.root='{other}'", "overwrite=true")


def test_a_split_that_cannot_be_read_is_an_issue_of_its_own(root, tmp_path):
    (root / "val.txt").unlink()
    assert run_check(tmp_path, "data=vspw", f"data.root='{root}'", "splits=[train,val]") == 1
    (issue,) = json.loads((tmp_path / "check_data/vspw.json").read_text())["splits"]["val"]["issues"]
    assert issue["kind"] == "layout" and "val.txt does not exist" in issue["message"]
    with pytest.raises(ValueError, match="splits has 'all'; expected train, val or test"):
        run_check(tmp_path, "data=vspw", f"data.root='{root}'", "splits=[all]")


def test_generated_data_can_be_checked_too(tmp_path):
    scenes = ["data.scenes.num_clips=1", "data.scenes.num_frames=2", "data.scenes.size=[64,96]"]
    assert run_check(tmp_path, "data=moving_scenes", f"data.root={tmp_path}/scenes", *scenes) == 0


def test_real_recordings_are_complete(tmp_path, shared_data):
    assert run_check(tmp_path, "data=kitti_step", f"data.root={shared_data}/kitti_step", "splits=[train]") == 0


@pytest.mark.parametrize(
    ("output", "exclusion", "error"),
    [("r.json", "r.json", "three different"), ("r.png", "x.json", "three different"), ("r.json", "r.png", "three different"),
     ("file/r.json", "x.json", "file is no folder"), ("r.json", "file/deep/x.json", "file is no folder")],
)  # fmt: skip
def test_files_that_would_replace_one_another_or_cannot_be_written_are_refused(tmp_path, output, exclusion, error):
    (tmp_path / "file").write_text("mine")
    with pytest.raises((ValueError, OSError), match=error):
        refuse_existing(tmp_path / output, tmp_path / exclusion, (tmp_path / output).with_suffix(".png"), overwrite=True, root="")
