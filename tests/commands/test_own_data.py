"""Laws: own data determines the number of classes, crop and motion, and a number that disagrees with it is an error."""

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.commands.own_data import fill_from_files, fill_num_classes
from tests.data.own_layout import write_own_data
from tests.tiny_run import compose_train


def test_the_number_reaches_every_setting_that_depends_on_it(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes: [road, car, tree]")
    cfg = compose_train("data=folder", f"data.root={tmp_path}")
    fill_num_classes(cfg.data)
    assert cfg.data.num_classes == cfg.mask_loss.num_classes == cfg.data.train.num_classes == 3
    typed = compose_train("data=folder", f"data.root={tmp_path}", "data.num_classes=5")
    fill_num_classes(typed.data)
    with pytest.raises(InstantiationException, match=r"classes\.yaml names 3 classes but num_classes=5"):
        instantiate(typed.data.val)
    missing = compose_train("data=folder", f"data.root={tmp_path}/none")
    with pytest.raises(FileNotFoundError, match=r"classes\.yaml does not exist; expected the class names"):
        fill_num_classes(missing.data)
    other = compose_train("data=vspw")
    fill_num_classes(other.data)
    assert other.data.num_classes == 124


def test_crop_and_motion_are_chosen_by_the_data_unless_they_are_given(tmp_path):
    root = write_own_data(tmp_path, ["a", "b"], num_frames=3)
    (root / "classes.yaml").write_text("classes: [road, sky, car]")
    own = ["experiment=own_data", f"data.root={root}"]
    for stage, source in (("flow", "footage"), ("propagation", "neighbors")):
        cfg = compose_train(*own, f"stage={stage}")
        assert cfg.extra_train is None
        fill_from_files(cfg.data)
        assert (cfg.data.num_classes, cfg.data.motion_from, cfg.data.crop_size) == (3, "frames", [64, 96])
        assert cfg.datamodule.train_transform.steps[1].size == [64, 96]
        assert cfg.datamodule.extra_train[source].get("labelled", True) is (source == "neighbors")
    given = compose_train(*own, "data.motion_from=stills", "data.crop_size=[32,32]")
    fill_from_files(given.data)
    assert (given.data.motion_from, given.data.crop_size) == ("stills", [32, 32])
    assert given.extra_train is None
