"""Conversion of published weights and back by the command; goldens pin every intermediate result."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from src.command_line.arguments import quote_paths
from src.commands.convert import convert
from src.models.cpu.mask_features import MaskFeatures
from src.models.flow import CopyFlow, DISFlow, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.ops.masks import semantic_scores
from src.weights.model_folder import load_flow, load_model, save_model
from src.weights.tensor_files import read_tensors
from tests.inference.tiny import tiny_propagator, tiny_segmentor
from tests.tiny_run import ROOT, compose_train
from tests.weights.golden_rule import golden_image, golden_layout, golden_state
from tests.weights.published import small_official
from tests.weights.test_official import flownet_state
from tests.weights.test_tensor_files import BOMBS, write_bomb

CLIPS = {
    "swin": ("64x96_to_128x200", (64, 96), (128, 200)),
    "swin_shifted": ("96x128", (96, 128), (96, 128)),
    "r50": ("96x128", (96, 128), (96, 128)),
}


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("convert", quote_paths(overrides))


def run(source: Path, output: Path, *overrides: str) -> Path:
    return convert(config(f"input={source}", f"output={output}", *overrides))


@dataclass
class Golden:
    """Reference numbers of a clip, and our model converted from official names."""

    name: str
    layout: dict[str, tuple[int, ...]]
    expected: dict[str, np.ndarray]
    propagator: Propagator
    missed: list[str]
    """Return the names of tensors that changed in the round trip."""


@pytest.fixture(scope="module", params=CLIPS)
def golden(request: pytest.FixtureRequest, goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Golden]:
    name: str = request.param
    folder, work = goldens / "pipeline" / name, tmp_path_factory.mktemp(name)
    official = golden_state(folder)
    torch.save({"model": official, "iteration": 9}, work / "official.pth")
    run(work / "official.pth", work / "model")
    run(work / "model", work / "back.pth", "to=official")
    back = read_tensors(work / "back.pth")
    missed = sorted(set(official) ^ set(back))
    missed += [key for key in official if key in back and not torch.equal(official[key], back[key])]
    with np.load(folder / f"clip_{CLIPS[name][0]}.npz") as file:
        expected = dict(file)
    propagator, _ = load_model(work / "model")
    # Some 700 MB, which pytest would keep.
    shutil.rmtree(work)
    yield Golden(name, golden_layout(folder), expected, propagator, missed)


def test_published_names_round_trip_is_bit_equal(golden: Golden) -> None:
    assert golden.missed == []


def stages(golden: Golden, dtype: torch.dtype) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return every reference array by name, and the semantic maps."""
    tag, size, raw_size = CLIPS[golden.name]
    images = [golden_image(f"clip/{tag}/frame{t}", *size)[None].to(dtype) for t in range(3)]
    propagator = golden.propagator.to(dtype)
    parts, seen = propagator.segmentor.parts(), {}
    hooks = [
        parts[part].register_forward_hook(lambda _module, _inputs, output, part=part: seen.update({part: output}))
        for part in ("backbone", "pixel_decoder")
    ]
    key = propagator.segmentor(images[0])
    for hook in hooks:
        hook.remove()
    # The segmentor hands out float32 at most.
    key = replace(key, queries=key.queries.to(dtype), mask_logits_per_layer=key.mask_logits_per_layer.to(dtype))
    found = {f"backbone_res{level + 2}": feature for level, feature in enumerate(seen["backbone"].feature_maps)}
    found |= {f"multi_scale_{level}": feature for level, feature in enumerate(seen["pixel_decoder"].multi_scale_features)}
    features = seen["pixel_decoder"].mask_features
    found |= {
        "mask_features": features.projected() if isinstance(features, MaskFeatures) else features,
        "class_logits_all": key.class_logits_per_layer,
        "mask_logits": key.mask_logits,
        "mask_logits_aux0": key.mask_logits_per_layer[0],
        "query_out": key.queries.transpose(0, 1),
    }
    maps = []
    for t, image in enumerate(images):
        prediction = key
        if t:
            prediction, flow = propagator.propagate(key, images[0], image)
            found |= {f"flow_{t}": flow.segment_flow[0], f"warped_{t}": prediction.mask_logits}
        scores = semantic_scores(prediction, raw_size)
        found[f"semseg_scores_{t}"] = scores[0, :, ::8, ::8]
        best = scores[0].topk(2, dim=0).values
        found[f"margin_{t}"] = best[0] - best[1]
        maps.append(scores[0].argmax(0))
    return found, maps


def tolerance(name: str, dtype: torch.dtype) -> tuple[float, float]:
    """Return (relative, absolute) tolerances of goldens/README.md, for the precision of the goldens (float64).

    The backbone's are relative to the largest value. In float32 a mask logit of 30 is the sum of 256 products; its rounding
    differs by threads and machine, about the README's own figure, so that one part in a million is allowed beside it.
    """
    rounding = 1e-6 if dtype == torch.float32 else 0.0
    for start, limits in {
        "backbone": (1e-5, 0.0), "mask_features": (rounding, 3e-5), "multi_scale": (rounding, 3e-5),
        "class_logits": (rounding, 3e-5), "mask_logits": (rounding, 3e-5), "query_out": (0.0, 3e-5), "flow": (0.0, 4e-6),
        "warped": (0.0, 1.4e-4), "semseg_scores": (0.0, 1.1e-5), "margin": (1e-3, 1e-4),
    }.items():  # fmt: skip
        if name.startswith(start):
            return limits
    raise AssertionError(name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_stage_gives_the_published_numbers(golden: Golden, dtype: torch.dtype) -> None:
    # Inference mode has shortcuts of its own (deformable attention, one prediction instead of all): both ways are pinned here.
    with torch.inference_mode(dtype == torch.float32):
        found, maps = stages(golden, dtype)
    assert {*found, *(f"semmap_{t}" for t in range(3))} == set(golden.expected)
    if dtype == torch.float32:
        assert len(found["class_logits_all"]) == 1
        del found["mask_logits_aux0"]
    faults = []
    for name, value in found.items():
        relative, absolute = tolerance(name, dtype)
        expected = golden.expected[name].astype(np.float64)
        if name == "class_logits_all":
            expected = expected[-len(value) :]
        scale = np.abs(expected).max() if name.startswith("backbone") else np.abs(expected)
        error = np.abs(value.detach().double().numpy() - expected)
        excess = error - relative * scale
        if not excess.max() <= absolute:
            faults.append(f"{name}: {excess.max():.2e} over {relative:g} of the value, at most {absolute:g}")
        if name == "mask_logits" and not np.sqrt((error**2).mean()) <= 1e-5:
            faults.append(f"{name}: off by {np.sqrt((error**2).mean()):.2e} on the whole, at most 1e-5")
    assert faults == []
    for t, labels in enumerate(maps):
        assert np.array_equal(labels.numpy(), golden.expected[f"semmap_{t}"])


def test_goldens_have_the_documented_architecture(golden: Golden) -> None:
    sizes = golden.propagator.segmentor.config()
    backbone = sizes["backbone_config"]
    assert (sizes["num_queries"], sizes["num_classes"], sizes["decoder_layers"] - 1, sizes["encoder_layers"]) == (16, 124, 9, 6)
    assert golden.propagator.warp_grid == "reference" and isinstance(golden.propagator.flow, QueryFlow)
    if golden.name == "r50":
        assert (backbone["depths"], backbone["downsample_in_bottleneck"]) == ([3, 4, 6, 3], False)
    else:
        assert (backbone["num_heads"], backbone["window_size"], backbone["embed_dim"]) == ([1, 2, 4, 8], 7, 24)
        assert backbone["depths"] == [2 if golden.name == "swin_shifted" else 1] * 4


@pytest.fixture
def official(tmp_path: Path) -> Path:
    torch.save({"model": small_official()}, tmp_path / "mpvss.pth")
    return tmp_path / "mpvss.pth"


def test_the_command_takes_any_file_name(tmp_path: Path) -> None:
    source = tmp_path / "epoch=3, best (1).pth"
    torch.save(small_official(), source)
    command = [sys.executable, "-m", "src.convert", f"input={source}", f"output={tmp_path / 'my model'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "written" in done.stdout and "window_size" in done.stdout
    assert load_model(tmp_path / "my model")[1] == {"converted_from": source.name}


@pytest.mark.parametrize("kind", ["pickle 4", "torch zip", "torch legacy"])
def test_a_malicious_file_is_refused_and_nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_bomb(tmp_path / "bomb.pth", kind, BOMBS["os.system"]())
    with pytest.raises(ValueError, match=r"bomb\.pth cannot be read: its content refers to posix\.system"):
        run(tmp_path / "bomb.pth", tmp_path / "model")
    assert [file.name for file in tmp_path.iterdir()] == ["bomb.pth"]


def test_earlier_results_are_not_overwritten_without_overwrite(official: Path, tmp_path: Path) -> None:
    model = save_model(tiny_propagator("copy"), tmp_path / "model", {"mine": True})
    (tmp_path / "back.pth").write_text("precious")
    for source, output, extra in ((official, model, []), (model, tmp_path / "back.pth", ["to=official"])):
        with pytest.raises(FileExistsError, match="overwrite=true"):
            run(source, output, *extra)
    assert load_model(model)[1] == {"mine": True} and (tmp_path / "back.pth").read_text() == "precious"
    run(official, model, "overwrite=true")
    assert load_model(model)[1] == {"converted_from": "mpvss.pth"}
    run(model, tmp_path / "back.pth", "overwrite=true", "to=official")
    assert len(read_tensors(tmp_path / "back.pth")) == len(read_tensors(official))
    for output in (model, model / "model.safetensors", tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match=r"expected a name that ends in \.pth"):
            run(model, output, "overwrite=true", "to=official")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.pth", "model", "mpvss.pth"]


def test_invalid_conversion_is_refused_and_writes_nothing(official: Path, tmp_path: Path) -> None:
    pixel = save_model(tiny_propagator("pixel"), tmp_path / "pixel")
    torch.save({"model": {"fc.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    for source, extra, error, message in (
        (official, ["to=onnx"], ValueError, "to=onnx"),
        (official, ["flow=raft"], ValueError, "flow=raft"),
        (tmp_path / "nowhere.pth", [], FileNotFoundError, "nowhere"),
        (tmp_path / "other.pth", [], ValueError, r"other\.pth: tensors are fc.weight"),
        (pixel, ["to=official"], ValueError, "pixel: flow is PixelFlow"),
        (official, ["data=vspw"], ValueError, "has 5 classes; expected 124, as in data=vspw"),
    ):
        with pytest.raises(error, match=message):
            run(source, tmp_path / "out.pth", *extra)
    assert not list(tmp_path.glob("out*"))


def test_settings_of_the_data_are_saved_with_the_model(official: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ["data=moving_scenes", "data.num_classes=5", "~data.test", "data.eval.short_side=480", "data.eval.max_long_side=853"]
    fake = "+data.test={_target_: tests.inference.tiny.FakeClips, lengths: [2]}"
    run(official, tmp_path / "named", *data, fake)
    values = load_model(tmp_path / "named")[1]
    assert (values["data"], values["short_side"], values["max_long_side"]) == ("moving_scenes", 480, 853)
    assert values["classes"] == ["sky", "road", "tree", "car"] and values["palette"][0] == [10, 20, 230]
    caplog.set_level(logging.WARNING)
    run(official, tmp_path / "nameless", *data, "+data.test={_target_: src.data.datasets.vspw.VSPW, root: nowhere, split: val}")
    values = load_model(tmp_path / "nameless")[1]
    assert set(values) == {"data", "short_side", "max_long_side", "converted_from"}
    assert "class names and colors are left out" in caplog.text


def test_segmentor_of_the_model_zoo_predicts_video(tmp_path: Path) -> None:
    arrays = {name: value.numpy() for name, value in small_official("resnet").items() if not name.startswith("motion.")}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "third_party"}))
    propagator, _ = load_model(run(tmp_path / "zoo.pkl", tmp_path / "model", "flow=dis"))
    assert isinstance(propagator.flow, DISFlow)
    key, nonkey = (torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8) for _ in range(2))
    with torch.inference_mode():
        assert propagator(key, nonkey)[0].class_logits.shape == (1, 6, 6)


def test_flownet_initialises_pixel_and_query_flow(tmp_path: Path) -> None:
    torch.save({"state_dict": flownet_state(), "meta": {"epoch": 1}}, tmp_path / "flownet_simple.pth")
    folder = run(tmp_path / "flownet_simple.pth", tmp_path / "flow")
    whole = load_flow(folder)
    chosen = compose_train("model/flow=pretrained", f"model.flow.path={folder}", "model/segmentor=tiny")
    assert isinstance(whole, PixelFlow) and isinstance(instantiate(chosen.model.flow), PixelFlow)
    into = ["+model/flow@model.flow.into=query", "model.flow.into.encoder_channels=[8,8,16,16,16,24]"]
    mixed = compose_train("model/flow=pretrained", f"model.flow.path={folder}", "model/segmentor=tiny", *into)
    flow = instantiate(mixed.model.flow)
    assert isinstance(flow, QueryFlow) and flow.num_queries == mixed.model.segmentor.num_queries
    encoders = [{k: v for k, v in net.state_dict().items() if k.startswith("encoder.")} for net in (whole, flow)]
    assert len(encoders[0]) == 20 and all(torch.equal(value, encoders[1][name]) for name, value in encoders[0].items())


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_published_files_have_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    save_model(Propagator(tiny_segmentor(), CopyFlow()), tmp_path / "model")
    before = os.umask(umask)
    try:
        run(tmp_path / "model", tmp_path / "back.pth", "to=official")
    finally:
        os.umask(before)
    assert (tmp_path / "back.pth").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_model_folder_is_halved_in_bfloat16(tmp_path: Path) -> None:
    propagator = tiny_propagator()
    propagator.flow = CopyFlow(propagator.segmentor.size_divisor)
    save_model(propagator, tmp_path / "model", {"classes": ["a", "b"], "data": "own"})
    half = run(tmp_path / "model", tmp_path / "half", "precision=bf16", "flow=dis")
    back, metadata = load_model(half)
    assert metadata == {"classes": ["a", "b"], "data": "own"} and isinstance(back.flow, DISFlow)
    expected = propagator.segmentor.state_dict()
    for name, value in back.segmentor.state_dict().items():
        rounded = expected[name].to(torch.bfloat16).to(value.dtype) if value.is_floating_point() else expected[name]
        assert torch.equal(value, rounded), name
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, tmp_path / "model")]
    assert sizes[0] < 0.6 * sizes[1]
    trained = run(tmp_path / "model", tmp_path / "same")
    assert isinstance(load_model(trained)[0].flow, CopyFlow)
