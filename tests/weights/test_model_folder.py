import json
import re
from pathlib import Path

import pytest
import torch

from src.models.flow import CopyFlow, PixelFlow
from src.models.propagator import Propagator
from src.weights import folder_files
from src.weights.model_folder import build_model, load_flow, load_model, model_config, save_flow, save_model
from tests.inference.tiny import frames, tiny_flow, tiny_propagator

METADATA = {"classes": ["sky", "road", "tree", "car"], "palette": [[1, 2, 3]], "short_side": 480, "max_long_side": None}


def save_checkpoint(propagator: Propagator, path: Path, **changes: object) -> Path:
    state = {f"propagator.{name}": value for name, value in propagator.state_dict().items()}
    checkpoint = {
        "model_config": model_config(propagator, METADATA),
        "state_dict": {**state, "val_iou.confusion": torch.zeros(4, 4)},
        "optimizer_states": [{"lr": 0.1}],
    }
    torch.save({**checkpoint, **changes}, path)
    return path


def outputs(propagator: Propagator) -> list[torch.Tensor]:
    key, nonkey = (frame[None] for frame in frames(2))
    with torch.inference_mode():
        prediction, flow = propagator(key, nonkey)
    return [prediction.mask_logits, prediction.class_logits, prediction.queries, flow.segment_flow]


@pytest.mark.parametrize("flow", ["copy", "dis", "pixel", "query"])
@pytest.mark.parametrize("kind", ["folder", "file", "checkpoint"])
def test_a_saved_model_computes_the_same_bits(flow: str, kind: str, tmp_path: Path) -> None:
    propagator = tiny_propagator(flow)
    propagator.warp_grid = "reference"
    if kind == "checkpoint":
        path = save_checkpoint(propagator, tmp_path / "epoch=1.ckpt")
    else:
        path = save_model(propagator, tmp_path / "model", METADATA) / ("" if kind == "folder" else "model.safetensors")
    loaded, metadata = load_model(path)
    assert metadata == METADATA and not loaded.training and loaded.warp_grid == "reference"
    assert type(loaded.flow) is type(propagator.flow)
    assert all(torch.equal(a, b) for a, b in zip(outputs(propagator), outputs(loaded), strict=True))
    assert model_config(loaded, metadata) == model_config(propagator, METADATA)


def test_model_folder_is_replaced_and_other_files_in_it_stay(tmp_path: Path) -> None:
    folder = save_model(tiny_propagator("copy"), tmp_path / "model", {"version": 1})
    (folder / "README.md").write_text("mine")
    save_model(tiny_propagator("dis"), folder, {"version": 2})
    assert load_model(folder)[1] == {"version": 2}
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_other_folders_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "note").write_text("note")
    for name in ("thesis", "note"):
        with pytest.raises(FileExistsError, match=name):
            save_model(tiny_propagator("copy"), tmp_path / name)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["note", "thesis", "thesis/config.json"]


def test_failed_save_keeps_the_earlier_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tiny_propagator("copy"), tmp_path / "model", {"version": 1})

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(folder_files, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(tiny_propagator("copy"), folder, {"version": 2})
    assert load_model(folder)[1] == {"version": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny_propagator("query"), tmp_path / "model", METADATA)


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": "other"}, "format is 'other'; expected 'mpvss-model', as in a model config of this project"),
        ({"format_version": 99}, "format_version is 99; expected 1"),
        ({"flow": {"name": "os.system", "config": {}}}, "flow estimator is 'os.system'; expected one of copy, dis"),
        ({"flow": {"name": "query", "config": {"widths": 3}}}, "flow config has .widths.; expected some of query_dim"),
        ({"flow": "query"}, "flow is 'query'"),
        ({"warp_grid": "other"}, "warp_grid is 'other'; expected"),
        ({"segmentor": {}}, "model_type is None"),
        ({"metadata": [1]}, "metadata is list"),
    ],
)
def test_invalid_config_is_refused_with_its_path(folder: Path, changes: dict[str, object], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message) as error:
        load_model(folder)
    assert str(folder / "config.json") in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.999])
def test_truncated_weights_are_refused_with_their_path(folder: Path, keep: float) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(ValueError, match=re.escape(f"{weights} is not a readable safetensors file")):
        load_model(folder)


def test_missing_files_are_errors(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_model(folder / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        load_model(folder)


def test_mismatched_tensors_are_listed(folder: Path) -> None:
    other = tiny_propagator("query")
    name = "segmentor.network.class_predictor.weight"
    tensors = other.state_dict()
    tensors["stray"] = torch.zeros(1)
    tensors[name] = torch.zeros(2, 2)
    del tensors["segmentor.network.class_predictor.bias"]
    folder_files.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        load_model(folder)
    for part in (
        "missing segmentor.network.class_predictor.bias",
        "unknown stray",
        f"{name} is (2, 2) float32, expected (5, 32)",
    ):
        assert part in str(error.value)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("exploded"),)


def test_a_checkpoint_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_checkpoint(tiny_propagator("copy"), tmp_path / "bomb.ckpt", callbacks=Bomb())
    with pytest.raises(ValueError, match=r"bomb\.ckpt cannot be read: its content refers to getattr; expected only"):
        load_model(path)
    assert not (tmp_path / "exploded").exists()


def test_other_or_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"foreign\.ckpt is not a checkpoint of this project"):
        load_model(tmp_path / "foreign.ckpt")
    whole = save_checkpoint(tiny_propagator("copy"), tmp_path / "whole.ckpt").read_bytes()
    for number, data in enumerate((b"", b"text", whole[: len(whole) // 2])):
        (tmp_path / f"damaged{number}.ckpt").write_bytes(data)
        with pytest.raises(ValueError, match=rf"damaged{number}\.ckpt cannot be read"):
            load_model(tmp_path / f"damaged{number}.ckpt")


def test_metadata_must_be_plain() -> None:
    with pytest.raises(ValueError, match="plain JSON"):
        model_config(tiny_propagator("copy"), {"path": Path("x")})
    with pytest.raises(ValueError, match="plain JSON"):
        model_config(tiny_propagator("copy"), {"miou": float("nan")})


def test_a_config_builds_the_same_network_without_weights() -> None:
    propagator = tiny_propagator("query")
    built = build_model(model_config(propagator))
    assert {name: value.shape for name, value in built.state_dict().items()} == {
        name: value.shape for name, value in propagator.state_dict().items()
    }


def test_flow_of_a_model_loads_for_another_segmentor(folder: Path) -> None:
    flow = load_flow(folder)
    saved = tiny_propagator("query").flow.state_dict()
    assert flow.config() == tiny_propagator("query").flow.config()
    assert all(torch.equal(value, saved[name]) for name, value in flow.state_dict().items())


@pytest.mark.parametrize("name", ["pixel", "query"])
def test_flow_folder_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    flow = tiny_flow(name)
    folder = save_flow(flow, tmp_path / "flow", {"from": "chairs"})
    for path in (folder, folder / "model.safetensors"):
        loaded = load_flow(path)
        assert type(loaded) is type(flow) and loaded.config() == flow.config()
        assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in flow.state_dict().items())
    with pytest.raises(ValueError, match=r"config\.json: format is 'mpvss-flow', a flow without a segmentor"):
        load_model(folder)
    for changes, message in (
        ({"flow": {"name": "pwc"}}, "flow estimator is 'pwc'; expected"),
        ({"format_version": 9}, "format_version is 9; expected 1"),
    ):
        edit(folder, **changes)
        with pytest.raises(ValueError, match=message) as error:
            load_flow(folder)
        assert str(folder / "config.json") in str(error.value)


def test_a_new_flow_starts_from_the_encoder_of_a_trained_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trained, fresh = tiny_flow("pixel"), tiny_flow("query")
    folder = save_flow(trained, tmp_path / "flow")
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    assert load_flow(folder, into=fresh) is fresh
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, (trained.state_dict() if name.startswith("encoder.") else before)[name])
    assert "encoder (20 tensors) loaded from" in caplog.text
    for other in (PixelFlow(encoder_channels=(8, 8, 16, 16, 16, 24), refine_channels=(8, 8, 8, 8)), CopyFlow()):
        with pytest.raises(ValueError, match="has other tensors; expected those of"):
            load_flow(folder, into=other)
    with pytest.raises(ValueError, match="has other tensors; expected those of"):
        load_flow(save_flow(CopyFlow(), tmp_path / "copy"), into=CopyFlow())
