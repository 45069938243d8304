"""Laws of the published figures: each belongs to an experiment, and deviations are relative to it."""

import pytest

from src.measure.published import deviation_percent, published_models
from tests.tiny_run import ROOT


def test_every_published_model_has_an_experiment() -> None:
    experiments = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    assert published_models().keys() <= experiments


def test_deviation_is_in_percent_of_the_published_figure() -> None:
    assert deviation_percent(99.0, 100.0) == pytest.approx(-1.0)
