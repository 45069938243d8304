"""Laws of the note of a comparison: it belongs to the graphs and the machine that were compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.inference.runtime import store
from src.inference.runtime.graphs import Graphs
from tests.inference.tiny import tiny_propagator


def stored(folder: Path) -> Graphs:
    graphs = Graphs(None, None, ["segment_flow"])
    store.write(folder, tiny_propagator("copy"), graphs, {"size": [40, 56]}, checked=["key"])
    return graphs


def checked(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / store.RUNTIME_FILE).read_text())["checked"]
    return found


def test_a_comparison_is_noted_once_a_kind_with_its_environment(tmp_path: Path) -> None:
    graphs = stored(tmp_path / "graphs")
    assert checked(tmp_path / "graphs") == {"key": store.environment()} and store.environment()["cpu"]
    store.note_checked(graphs, "nonkey")
    note = json.loads((tmp_path / "graphs" / store.RUNTIME_FILE).read_text())
    assert note["checked"] == {frame: store.environment() for frame in ("key", "nonkey")}
    assert note["size"] == [40, 56] and note["format"] == store.FORMAT


def test_nothing_is_noted_for_graphs_that_were_replaced_or_never_stored(tmp_path: Path) -> None:
    graphs = stored(tmp_path / "graphs")
    graphs.hashes = {"key.xml": "other"}
    store.note_checked(graphs, "nonkey")
    assert set(checked(tmp_path / "graphs")) == {"key"}
    store.note_checked(Graphs(None, None, []), "nonkey")


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = stored(tmp_path / "graphs")

    def full(path: Path, text: str) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(store, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        store.note_checked(graphs, "nonkey")
    assert set(checked(tmp_path / "graphs")) == {"key"}
