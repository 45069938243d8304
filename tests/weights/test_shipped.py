"""Models that come with the code: by name in every command, and never mistaken for a path."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from src.inference.flow_choice import with_flow
from src.models.flow import DISFlow
from src.weights.checkpoints import load_checkpoint
from src.weights.folder_files import WEIGHTS_FILE, read_header
from src.weights.model_folder import load_model, save_model
from src.weights.shipped import SHIPPED_MODELS, shipped_model
from tests.inference.tiny import tiny_propagator


def test_a_shipped_model_loads_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for load in (load_model, load_checkpoint):
        propagator, metadata = load("street")
        assert len(metadata["classes"]) == propagator.segmentor.num_classes == 11
        assert isinstance(with_flow(propagator, metadata, "auto", 240).flow, DISFlow)


def test_shipped_weights_are_small_and_finite() -> None:
    for folder in SHIPPED_MODELS.values():
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 10e6
        assert {value.dtype for value in read_header(folder / WEIGHTS_FILE).values()} == {torch.bfloat16, torch.int64}
        propagator, _ = load_model(folder)
        assert all(value.isfinite().all() for value in propagator.state_dict().values())
        # Loaded as float32: nothing is computed in the type of the file.
        assert {value.dtype for value in propagator.parameters()} == {torch.float32}


def test_a_local_folder_of_the_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tiny_propagator(), "street", {"data": "own"})
    with caplog.at_level(logging.WARNING):
        assert load_model("street")[1]["data"] == "own"
    assert "not the shipped model" in caplog.text


def test_other_names_are_paths() -> None:
    assert shipped_model("streets") == Path("streets")
    assert shipped_model("./street") == Path("street")
    with pytest.raises(FileNotFoundError, match="a hub id, or street"):
        load_checkpoint("streets")
