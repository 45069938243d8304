"""Prepared graphs are kept only in model folders of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.commands.runtime_choice import runtimes_of
from src.weights.model_folder import save_model
from tests.inference.tiny import tiny_propagator


def test_graphs_are_kept_in_a_model_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tiny_propagator(), tmp_path / "model")
    for checkpoint in (tmp_path / "model", tmp_path / "model" / "model.safetensors"):
        assert runtimes_of("openvino", checkpoint).folder == tmp_path / "model" / "exported"
    # The config.json of another program lies where the parent of a name would be.
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "last.ckpt").touch()
    for checkpoint in (None, "street", "last.ckpt", "owner/model"):
        assert runtimes_of("openvino", checkpoint).folder is None
