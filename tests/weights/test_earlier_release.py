"""Laws of models that an earlier release saved: same outputs under today's names, and a warning about what is dropped."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.weights.model_folder import load_flow, load_model, save_flow, save_model
from tests.inference.tiny import frames, tiny_flow, tiny_propagator


def age(folder: Path, prefix: str, segments: bool) -> None:
    """Rewrite a folder in the names of the earlier release, with or without its residual flow per segment."""
    config = json.loads((folder / "config.json").read_text())
    settings = config["flow"]["config"]
    for name in ("classes", "dim"):
        settings[f"fill_{name}"] = settings.pop(f"disocclusion_{name}")
    settings |= {"query_dim": 32, "segment_dim": 8, "segment_rank": 4}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    old = {name.replace(f"{prefix}disocclusion.", f"{prefix}fill."): value for name, value in tensors.items()}
    assert old.keys() != tensors.keys()
    if segments:
        old[f"{prefix}segments.map.weight"] = torch.ones(12, 10, 1, 1)
    save_file(old, folder / "model.safetensors")


@pytest.mark.parametrize("segments", [False, True])
def test_a_model_of_an_earlier_release_predicts_the_same(
    segments: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    propagator = tiny_propagator("correlation")
    age(save_model(propagator, tmp_path / "model", {}), "flow.", segments)
    loaded, _ = load_model(tmp_path / "model")
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        expected, found = propagator(key, nonkey)[1], loaded(key, nonkey)[1]
    for name in ("segment_flow", "confidence", "disocclusion_logits"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert ("flow.segments.map.weight" in caplog.text) == segments


def test_a_flow_of_an_earlier_release_loads_by_itself(tmp_path: Path) -> None:
    flow = tiny_flow("correlation")
    age(save_flow(flow, tmp_path / "flow"), "", False)
    loaded = load_flow(tmp_path / "flow")
    assert loaded.config() == flow.config()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in flow.state_dict().items())


def test_other_flows_keep_their_settings(tmp_path: Path) -> None:
    """``query_dim`` of a query flow is a setting of today."""
    folder = save_model(tiny_propagator("query"), tmp_path / "model", {})
    assert load_model(folder)[0].flow.config()["query_dim"] == 32
