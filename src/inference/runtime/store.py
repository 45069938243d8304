"""Folder of prepared graphs, ``<model>/exported/<runtime>-<size>-b1-<precision>``: read only if weights and files are unchanged.

```
runtime.json                       identity of the network, SHA-256 of every file, names of the tensors, versions, parity
key.xml, key.bin | key.onnx        OpenVINO | ONNX: segmentation of a key frame
nonkey.xml, nonkey.bin | .onnx     propagation, for a model with a trained flow
```
"""

import json
import logging
import platform
from collections.abc import Collection, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from src.files.atomic_write import write_text
from src.files.results.fingerprint import fingerprint, tensor_fingerprint
from src.files.results.owned_folder import Scratch, output_lock
from src.files.saved_networks import read_json_object
from src.inference.runtime import onnx, openvino
from src.inference.runtime.graphs import Graphs, Kind, slower
from src.inference.runtime.tracing import Graph, TorchGraph
from src.models.propagator import Propagator
from src.structures import Size

log = logging.getLogger(__name__)

RUNTIME_FILE = "runtime.json"
FORMAT = "mpvss-runtime"
EXPORTED = "exported"
"""Folder in a model folder."""
_PACKAGES = ("torch", "transformers", "openvino", "onnx", "onnxruntime")
_AGAIN = "export again: python -m src.export"


def folder_name(kind: Kind, size: Size, precision: openvino.Precision, propagator: Propagator) -> str:
    """Return the name of a folder of graphs; that of a trained flow ends with the flow's name."""
    flow = propagator.flow
    name = flow.method_names[-1] if flow.method_names else type(flow).__name__.lower()
    return f"{kind}-{size[0]}x{size[1]}-b1-{precision}{'' if flow.training_free else f'-{name}'}"


def identity(propagator: Propagator) -> dict[str, Any]:
    """Return the SHA-256 of the network's weights and of its configuration; a flow without training is left out."""
    config: dict[str, Any] = {"segmentor": propagator.segmentor.config(), "warp_grid": propagator.warp_grid}
    tensors = {f"segmentor.{name}": value for name, value in propagator.segmentor.state_dict().items()}
    if not propagator.flow.training_free:
        config["flow"] = [type(propagator.flow).__name__, propagator.flow.config()]
        tensors |= {f"flow.{name}": value for name, value in propagator.flow.state_dict().items()}
    text = json.dumps(config, sort_keys=True, default=str)
    return {"weights": tensor_fingerprint(tensors)["sha256"], "config": tensor_fingerprint({}, text)["sha256"]}


def environment() -> dict[str, str]:
    """Return the versions and the kind of CPU for which graphs were compared with eager torch."""
    return _versions() | {"cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"}


def write(
    folder: Path,
    propagator: Propagator,
    graphs: Graphs,
    about: Mapping[str, Any] | None = None,
    checked: Collection[str] = (),
) -> None:
    """Write a folder of graphs, which is then that of ``graphs``; an existing one is replaced.

    Args:
        folder: folder to write.
        propagator: network of the graphs.
        graphs: result of :func:`src.inference.runtime.graphs.convert`.
        about: further content of ``runtime.json``, JSON-able.
        checked: kinds of frames that were compared with eager torch here.

    Raises:
        OSError: if a file cannot be written, or another process writes to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def listed(_: Path, old: Mapping[str, Any]) -> list[str] | None:
        return list(old.get("sha256", {})) if old.get("format") == FORMAT else None

    with output_lock(folder), Scratch(folder, earlier=listed, marker=RUNTIME_FILE) as at:
        for name, graph in (("key", graphs.key), ("nonkey", graphs.nonkey)):
            if isinstance(graph, openvino.OpenVinoGraph | onnx.OnnxGraph | TorchGraph):
                graph.save(at.new / name)
        note = {
            "format": FORMAT,
            **identity(propagator),
            "sha256": {path.name: _sha256(path) for path in sorted(at.new.iterdir())},
            "names": graphs.names,
            "milliseconds": graphs.milliseconds,
            "versions": _versions(),
            "checked": {frame: environment() for frame in checked},
            **(about or {}),
        }
        (at.new / RUNTIME_FILE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        at.commit(None, overwrite=True)
    graphs.folder, graphs.hashes = folder, note["sha256"]
    log.info("written: %s", folder)


def note_checked(graphs: Graphs, frame: str) -> None:
    """Record that a kind of frame equals eager torch in this environment, so that later processes need not compare it.

    Raises:
        OSError: if the folder cannot be written, or another process writes to it.
    """
    if graphs.folder is None:
        return
    path = graphs.folder / RUNTIME_FILE
    with output_lock(graphs.folder):
        note = read_json_object(path)
        # Another process may have replaced the graphs.
        if note.get("sha256") == graphs.hashes:
            checked = note.get("checked")
            note["checked"] = (checked if isinstance(checked, dict) else {}) | {frame: environment()}
            write_text(path, json.dumps(note, indent=2) + "\n")


def load(folder: Path, propagator: Propagator, precision: openvino.Precision, only_faster: bool = False) -> Graphs:
    """Read what :func:`write` wrote; no file is parsed before its SHA-256 is checked.

    Args:
        folder: folder to read.
        propagator: network of the graphs.
        precision: precision of the key frames.
        only_faster: leave out networks that were slower than eager torch when they were written.

    Raises:
        ModuleNotFoundError: if the package of the runtime is not installed.
        ValueError: if ``runtime.json`` is damaged, or of other weights or another configuration; or if a graph's file is missing,
            changed or of a newer OpenVINO.
    """
    path = folder / RUNTIME_FILE
    note = read_json_object(path)
    hashes, names, times = note.get("sha256"), note.get("names"), note.get("milliseconds", {})
    if note.get("format") != FORMAT or not isinstance(hashes, dict) or not isinstance(names, list) or not _are_times(times):
        raise ValueError(f"{path} is not of this project; expected format {FORMAT!r}; {_AGAIN}")
    suffix = next((suffix for suffix in (".xml", ".onnx") if f"key{suffix}" in hashes), None)
    if suffix is None:
        raise ValueError(f"{folder} has no key frame's graph of OpenVINO or ONNX; {_AGAIN}")
    if changed := [name for name, value in identity(propagator).items() if note.get(name) != value]:
        raise ValueError(f"{folder} was exported from other {' and '.join(changed)} than the model's; {_AGAIN}")
    for name, expected in hashes.items():
        if Path(name).name != name or _sha256(folder / name) != expected:
            raise ValueError(f"{folder / name} is missing or differs from its SHA-256 in {RUNTIME_FILE}; {_AGAIN}")
    left_out = slower(times) if only_faster else set()

    def graph(name: str, its_precision: openvino.Precision) -> Graph | None:
        if name in left_out or f"{name}{suffix}" not in hashes:
            return None
        at = folder / f"{name}{suffix}"
        return onnx.OnnxGraph.load(at) if suffix == ".onnx" else openvino.OpenVinoGraph.load(at, its_precision)

    checked = note.get("checked")
    done = {frame for frame, where in checked.items() if where == environment()} if isinstance(checked, dict) else set()
    unchecked = {"key", "nonkey"} - done
    return Graphs(graph("key", precision), graph("nonkey", "f32"), names, times, unchecked, folder, hashes)


def _are_times(times: object) -> bool:
    return isinstance(times, dict) and all(
        isinstance(ms, dict) and all(isinstance(ms.get(way), int | float) for way in ("eager", "graph")) for ms in times.values()
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES if find_spec(name) is not None}


def _sha256(path: Path) -> object:
    return (fingerprint(path) or {}).get("sha256")
