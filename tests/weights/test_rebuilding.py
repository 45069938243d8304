"""Laws of hostile files: one line that names the file, and no memory beyond that of the file."""

import json
import pickle
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.weights.checkpoints import load_checkpoint
from src.weights.folder_files import read_config
from src.weights.model_folder import build_model, load_flow, load_model, model_config, save_flow, save_model
from src.weights.official import load_official, to_official
from tests.inference.tiny import CLASSES, tiny_flow, tiny_propagator, tiny_segmentor
from tests.weights.hostile import SWEPT

FIRST = "segmentor.network.class_predictor.weight"
SPARE = 3 << 30


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tiny_propagator("query"), tmp_path_factory.mktemp("saved") / "model", {"classes": list(CLASSES)})


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that transformers saved."""
    path = tmp_path_factory.mktemp("hub") / "published"
    tiny_segmentor().network.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def bounded() -> Any:
    """Memory that a test may ask for: an allocation beyond it is an error of another type."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if not Path("/proc/self/statm").exists():
        pytest.skip("no limit of memory on this system")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refuse(path: Path, read: Callable[[Path], object], named: str = "") -> str:
    with pytest.raises((ValueError, OSError)) as error:
        read(path)
    text = str(error.value)
    assert (named or str(path)) in text and "\n" not in text and len(text) < 1500 and "weights_only" not in text
    return text


@pytest.mark.parametrize("place", SWEPT, ids=".".join)
def test_values_of_a_config_are_bounded_before_memory_is_asked_for(folder: Path, place: tuple[str, ...]) -> None:
    original = (folder / "config.json").read_text()
    for value in SWEPT[place]:
        config = json.loads(original)
        inner = config
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        (folder / "config.json").write_text(json.dumps(config))
        refuse(folder, load_checkpoint)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{", "[" * 10**5, '{"a":' * 10**4 + "1" + "}" * 10**4, '{"format": ' + "9" * 5000 + "}", "{}" + " " * 9_000_000],
    ids=["empty", "list", "open", "deep list", "deep object", "long number", "large"],
)
def test_json_of_any_form_is_one_line(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refuse(folder, load_checkpoint)


def test_lists_nested_below_the_limit_of_json_are_refused(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"pre_norm": false', '"pre_norm": ' + "[" * 300 + "]" * 300))
    assert "nested" in refuse(folder, load_checkpoint)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("part", [FIRST, "flow."])
def test_the_first_tensor_that_is_not_finite_is_named(folder: Path, part: str, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.startswith(part))
    tensors[name].view(-1)[3] = value
    save_file(tensors, folder / "model.safetensors")
    assert f"{name} has 1 of" in refuse(folder, load_checkpoint)


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint8", "int64", "bool", "complex64"])
def test_other_types_are_not_cast(folder: Path, published: Path, tmp_path: Path, dtype: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[FIRST] = tensors[FIRST].to(getattr(torch, dtype))
    save_file(tensors, folder / "model.safetensors")
    assert f"{FIRST} is (5, 32) {dtype}, expected (5, 32) float32" in refuse(folder, load_checkpoint)
    other = Path(shutil.copytree(published, tmp_path / "published"))
    edit_tensors(
        other,
        lambda tensors: tensors.update({"class_predictor.weight": tensors["class_predictor.weight"].to(getattr(torch, dtype))}),
    )
    assert f"class_predictor.weight is (5, 32) {dtype}" in refuse(other, load_checkpoint)


def test_half_precision_is_read_and_other_integers_are_not(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for dtype in (torch.float16, torch.bfloat16):
        save_file({name: value.to(dtype) for name, value in tensors.items()}, folder / "model.safetensors")
        loaded = load_model(folder)[0].state_dict()
        assert all(torch.equal(loaded[name], value.to(dtype).float()) for name, value in tensors.items())


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def header(shape: str, end: int) -> bytes:
    text = f'{{"a": {{"dtype": "F32", "shape": [{shape}], "data_offsets": [0, {end}]}}}}'
    return len(text).to_bytes(8, "little") + text.encode()


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "dangling link": lambda path: (path.unlink(), path.symlink_to("/nowhere")),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "claims 4 TB": lambda path: path.write_bytes(header("1000000000000", 4000000000000)),
    "overflows": lambda path: path.write_bytes(header("9223372036854775807, 9, 0", 0)),
    "float8": lambda path: save_file({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, path),
}  # fmt: skip


@pytest.mark.parametrize("kind", WEIGHTS)
def test_damaged_weights_of_every_kind_of_folder(folder: Path, published: Path, tmp_path: Path, kind: str) -> None:
    other = Path(shutil.copytree(published, tmp_path / "published"))
    flow = save_flow(tiny_flow("pixel"), tmp_path / "flow")
    for path, read in ((folder, load_checkpoint), (other, load_checkpoint), (flow, load_flow)):
        WEIGHTS[kind](path / "model.safetensors")
        refuse(path, read)


def test_links_to_nothing_and_folders_named_as_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere")
    assert "is a link to nothing" in refuse(tmp_path / "link", load_checkpoint)
    assert "is a link to nothing" in refuse(tmp_path / "link", load_model)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refuse(folder, load_checkpoint)
    for name, read in (("run.ckpt", load_checkpoint), ("weights.pth", load_official)):
        (tmp_path / name).mkdir()
        refuse(tmp_path / name, read)
    with pytest.raises(FileNotFoundError, match="outputs/nothing does not exist"):
        load_checkpoint("outputs/nothing")


STATES: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda value: value.to_sparse(),
    "meta": lambda value: value.to("meta"),
    "int8": lambda value: value.to(torch.int8),
    "double": lambda value: value.double(),
    "nan": lambda value: value * torch.nan,
    "text": lambda value: "x",
    "none": lambda value: None,
    "repeated view": lambda value: torch.zeros(1).expand(10**9),
    "wrong shape": lambda value: value[:1],
}


@pytest.mark.parametrize("kind", STATES)
def test_tensors_of_a_checkpoint_and_of_published_weights(tmp_path: Path, kind: str) -> None:
    propagator = tiny_propagator("copy")
    state = {f"propagator.{name}": value for name, value in propagator.state_dict().items()}
    name = f"propagator.{FIRST}"
    content = {"model_config": model_config(propagator), "state_dict": {**state, name: STATES[kind](state[name])}}
    torch.save(content, tmp_path / "run.ckpt")
    assert FIRST in refuse(tmp_path / "run.ckpt", load_checkpoint)
    tensors = to_official(Propagator(tiny_segmentor(), CopyFlow()))
    name = "sem_seg_head.predictor.class_embed.weight"
    torch.save({"model": {**tensors, name: STATES[kind](tensors[name])}}, tmp_path / "weights.pth")
    assert name in refuse(tmp_path / "weights.pth", load_official)


def test_published_widths_are_compared_before_memory_is_asked_for(tmp_path: Path) -> None:
    tensors = to_official(Propagator(tiny_segmentor(), CopyFlow()))
    for name, shape, dtype in (
        ("sem_seg_head.predictor.query_feat.weight", (1, 60_000), torch.float16),
        ("sem_seg_head.predictor.class_embed.bias", (60_000,), torch.float16),
        ("sem_seg_head.predictor.class_embed.bias", (10**6,), torch.float16),
        ("backbone.layers.0.blocks.0.attn.relative_position_bias_table", (255**2, 1), torch.float16),
    ):
        torch.save({"model": {**tensors, name: torch.zeros(shape, dtype=dtype)}}, tmp_path / "weights.pth")
        refuse(tmp_path / "weights.pth", load_official)
    layers = {f"sem_seg_head.pixel_decoder.transformer.encoder.layers.{n}.x": torch.zeros(0) for n in range(1000)}
    torch.save({"model": {**tensors, **layers}}, tmp_path / "weights.pth")
    assert "encoder_layers is 1000; expected 1..128" in refuse(tmp_path / "weights.pth", load_official)


def deflate(path: Path) -> None:
    """Write an archive of 2 MB that asks for 2 GB."""
    torch.save({"model": {"a": torch.zeros(10)}, "state_dict": {}, "model_config": {}}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, bytes(1 << 24) if "/data/" in name else data)


FILES: dict[str, Callable[[Path], object]] = {
    "compressed": deflate,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "start of a zip": lambda path: path.write_bytes(b"PK\3\4" + bytes(100)),
    "list": lambda path: torch.save([1], path),
    "number": lambda path: torch.save(3, path),
    "tensor": lambda path: torch.save(torch.zeros(2), path),
    "state is a list": lambda path: torch.save({"model_config": {}, "state_dict": [1]}, path),
    "numbers as names": lambda path: torch.save({"model_config": {1: 2}, "state_dict": {1: 2}}, path),
    "code": lambda path: path.write_bytes(pickle.dumps(print)),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_content(published: Path, tmp_path: Path, kind: str) -> None:
    FILES[kind](tmp_path / "run.ckpt")
    refuse(tmp_path / "run.ckpt", load_checkpoint)
    FILES[kind](tmp_path / "weights.pth")
    refuse(tmp_path / "weights.pth", load_official)
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    (folder / "model.safetensors").unlink()
    FILES[kind](folder / "pytorch_model.bin")
    refuse(folder, load_checkpoint)


NAMES = ([], {"a": "b"}, "x", 5, {"0": "x" * 10**6}, {"-1": "x"}, {str(n): "a" for n in range(70_000)})
BACKBONES = ({"depths": [10**6] * 4}, {"embed_dim": 10**9}, {"num_labels": 10**9})
CHANGES = [
    *(
        {name: value}
        for name in ("num_queries", "hidden_dim", "encoder_layers", "num_labels", "num_attention_heads", "backbone_config")
        for value in (10**9, 60_000, 0, -1, "x", [])
    ),
    *({"id2label": value} for value in NAMES),
    *({"backbone_config": {"model_type": "swin", **one}} for one in BACKBONES),
    *({"backbone_config": {}}, {"backbone_config": {"model_type": "bert"}}, {"model_type": []}, {"dtype": "x"}),
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: str(changes)[:50])
def test_configs_of_published_folders(published: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    config = json.loads((folder / "config.json").read_text())
    if "num_labels" in changes:
        del config["id2label"]
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    refuse(folder, load_checkpoint)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/outside", "a/../../outside.safetensors", "absent.safetensors", "..", 5]
)
def test_shards_stay_in_their_folder(published: Path, tmp_path: Path, shard: object) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    name = str(tmp_path / "outside.safetensors") if shard == "/outside" else shard
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refuse(folder, load_checkpoint)


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"image_std": [0, 0, 0]}', '{"image_mean": "abc"}', '{"image_mean": {"a": 1}}', "[" * 10**5]
)
def test_statistics_of_published_folders(published: Path, tmp_path: Path, text: str) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    (folder / "preprocessor_config.json").write_text(text)
    refuse(folder, load_checkpoint)


def test_nan_in_published_folders_and_flows_is_named(published: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "published"))
    edit_tensors(folder, lambda tensors: tensors["class_predictor.weight"].fill_(torch.nan))
    assert "class_predictor.weight has 160 of 160 values that are NaN" in refuse(folder, load_checkpoint)
    flow = save_flow(tiny_flow("pixel"), tmp_path / "flow")
    edit_tensors(flow, lambda tensors: next(iter(tensors.values())).fill_(torch.inf))
    assert "values that are NaN or infinite" in refuse(flow, load_flow)


def test_loading_draws_no_random_numbers_for_the_comparison(saved: Path) -> None:
    """Fresh weights are drawn once, as if the network had been built without a comparison."""
    torch.manual_seed(0)
    load_model(saved)
    after = torch.rand(3)
    torch.manual_seed(0)
    build_model(read_config(saved / "config.json"))
    assert torch.equal(torch.rand(3), after)
