"""Law: the classes of own data are counted in ``classes.yaml``, and a number that disagrees with the file is an error."""

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.commands.own_data import fill_num_classes
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
