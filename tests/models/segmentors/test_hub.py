import logging
from pathlib import Path

import pytest
from huggingface_hub import constants

from src.models.segmentors.hub import use_cache_if_unreachable
from src.models.segmentors.registry import load_segmentor


@pytest.fixture(autouse=True)
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub at a port of this machine where nothing listens."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_an_unreachable_hub_is_asked_once_and_the_error_names_the_model(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((OSError, ValueError), match="someone/nothing"):
        load_segmentor("someone/nothing")
    assert constants.HF_HUB_OFFLINE
    assert "127.0.0.1:9 does not answer" in caplog.text and "Retry" not in caplog.text


def test_nothing_is_asked_for_a_folder_or_offline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    use_cache_if_unreachable(str(tmp_path))
    assert not constants.HF_HUB_OFFLINE and not caplog.text
    constants.HF_HUB_OFFLINE = True
    use_cache_if_unreachable("someone/nothing")
    assert not caplog.text
