"""Laws of the published figures: complete, consistent among themselves, and each with an experiment of ours."""

import pytest

from src.measure.published import deviation_percent, published_models
from tests.tiny_run import ROOT


def test_there_are_twelve_and_an_experiment_for_each() -> None:
    models = published_models()
    assert len(models) == 12 and {name.split("_")[0] for name in models} == {"vspw", "cityscapes"}
    for name, model in models.items():
        assert model.experiment == name and (ROOT / "conf" / "experiment" / f"{name}.yaml").exists()
        assert model.size == {"vspw": (480, 853), "cityscapes": (1024, 2048)}[name.split("_")[0]]
        assert {"miou", "gflops", "fps"} <= set(model.mpvss) and model.mpvss["miou"] < model.per_frame["miou"]


@pytest.mark.parametrize("backbone", ["r50", "r101", "swint", "swins", "swinb", "swinl"])
def test_propagation_adds_the_flow_network_and_saves_most_of_the_cost(backbone: str) -> None:
    model = published_models()[f"vspw_{backbone}"]
    assert model.mpvss["params_m"] - model.per_frame["params_m"] == pytest.approx(40.1, abs=0.25)
    assert 2.8 < model.per_frame["gflops"] / model.mpvss["gflops"] < 4.2
    # Both stages share a cost that does not shrink: the flow of four frames in five, and the post-processing of all.
    assert model.mpvss["gflops"] == pytest.approx((model.per_frame["gflops"] - 5.3) / 5 + 0.8 * 15.7 + 5.3, rel=0.01)


def test_deviation_is_in_percent_of_the_published_figure() -> None:
    assert deviation_percent(99.0, 100.0) == pytest.approx(-1.0)
