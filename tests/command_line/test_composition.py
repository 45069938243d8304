from src.command_line.composition import check_options, composed


def test_targets_of_an_installed_package_are_those_of_the_checkout() -> None:
    added = ["extra_train={}", "+extra_train.more={_target_:mpvss.data.pairs.mixture.PairSource,weight:1}"]
    cfg = composed("train", ["experiment=quickstart", "stage.optim._target_=mpvss.training.optim.AdamWPoly", *added])
    assert cfg.stage.optim._target_ == "src.training.optim.AdamWPoly"
    assert cfg.extra_train.more._target_ == "src.data.pairs.mixture.PairSource"


def test_targets_in_lists_are_resolved() -> None:
    steps = (
        "data.train_transform.steps=[{_target_:mpvss.data.pairs.transforms.RandomHorizontalFlip},{_target_:lightning.Trainer}]"
    )
    cfg = composed("train", ["experiment=quickstart", steps])
    names = [step._target_ for step in cfg.data.train_transform.steps]
    assert names == ["src.data.pairs.transforms.RandomHorizontalFlip", "lightning.Trainer"]
    check_options("train", composed("train", ["experiment=quickstart", "stage.optim._target_=mpvss.training.optim.AdamWPoly"]))
