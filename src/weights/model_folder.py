"""A trained model on disk: a folder of ``config.json`` and ``model.safetensors``, complete enough to be rebuilt from it alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from src.models.flow import FLOW_ESTIMATORS, FlowEstimator
from src.models.propagator import Propagator
from src.models.segmentor import Mask2FormerSegmentor

FORMAT = "mpvss-model"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CHECKPOINT_PREFIX = "propagator."
"""Where the training module keeps the model: the prefix of its tensors in a Lightning checkpoint."""


def model_config(propagator: Propagator, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that :func:`build_model` needs to rebuild the network, as plain JSON values (tuples become lists).

    Args:
        propagator: the network.
        metadata: anything JSON-able that belongs to the weights: class names, palette, evaluation short side.

    Raises:
        ValueError: if the flow estimator is not a registered one, or a value is not JSON-able.
    """
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "segmentor": propagator.segmentor.config(),
        "flow": {"name": _flow_name(propagator), "config": propagator.flow.config()},
        "warp_grid": propagator.warp_grid,
        "metadata": dict(metadata or {}),
    }
    try:
        plain: dict[str, Any] = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"model config must hold plain JSON values only: {error}") from error
    return plain


def build_model(config: Mapping[str, Any]) -> Propagator:
    """The network that a config describes, with fresh weights. Nothing is downloaded and no code of the config is run.

    Raises:
        ValueError: if the config is not one of :func:`model_config`, or names a flow estimator that does not exist.
    """
    if config.get("format") != FORMAT:
        raise ValueError(f"format is {config.get('format')!r}, expected {FORMAT!r}: not a model config of this project")
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"format_version is {config.get('format_version')!r}; this code reads version {FORMAT_VERSION}")
    missing = [key for key in ("segmentor", "flow", "warp_grid") if key not in config]
    if missing:
        raise ValueError(f"model config lacks {', '.join(missing)}")
    flow = config["flow"]
    if not isinstance(flow, Mapping) or "name" not in flow:
        raise ValueError(f"flow is {flow!r}, expected {{'name': ..., 'config': {{...}}}}")
    if flow["name"] not in FLOW_ESTIMATORS:
        raise ValueError(f"unknown flow estimator {flow['name']!r}; known are {', '.join(FLOW_ESTIMATORS)}")
    if config["warp_grid"] not in ("exact", "reference"):
        raise ValueError(f"unknown warp grid {config['warp_grid']!r}; expected 'exact' or 'reference'")
    try:
        segmentor = Mask2FormerSegmentor.from_config(config["segmentor"])
        estimator = FLOW_ESTIMATORS[flow["name"]](**flow.get("config", {}))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"model config does not fit this code: {type(error).__name__}: {error}") from error
    return Propagator(segmentor, estimator, config["warp_grid"])


def save_model(propagator: Propagator, folder: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a model folder, all of it or nothing: it is made under a temporary name and renamed.

    An existing model folder is replaced; files in it that are not ours stay.

    Args:
        propagator: the network.
        folder: where to.
        metadata: see :func:`model_config`.

    Returns:
        The folder.

    Raises:
        FileExistsError: if ``folder`` is a file, or a non-empty folder that is not a model folder.
        ValueError: see :func:`model_config`.
    """
    folder = Path(folder)
    target = folder.resolve()
    if target.exists() and not _may_replace(target):
        raise FileExistsError(f"{folder} exists and is not a model folder (no {CONFIG_FILE} of ours in it); nothing was written")
    config = model_config(propagator, metadata)
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in propagator.state_dict().items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        (new / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, new / WEIGHTS_FILE)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        for extra in old.iterdir() if old.exists() else ():
            if extra.name not in (CONFIG_FILE, WEIGHTS_FILE):
                extra.rename(target / extra.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def load_model(path: str | Path, device: str | torch.device = "cpu") -> tuple[Propagator, dict[str, Any]]:
    """Rebuild a trained model, in eval mode. Files are read as data: nothing in them is executed.

    Args:
        path: a model folder, the ``.safetensors`` file in it, or a Lightning checkpoint (``.ckpt``) of this project.
        device: where the model goes.

    Returns:
        The network and the metadata it was saved with.

    Raises:
        FileNotFoundError: if the path, or a file of the folder, does not exist.
        ValueError: if a file is damaged or not ours, or its tensors are not exactly those of the network.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no model at {path}: expected a folder of {CONFIG_FILE} and {WEIGHTS_FILE}, or a .ckpt")
    if path.is_file() and path.suffix != ".safetensors":
        config, tensors = _read_checkpoint(path)
        source = path
    else:
        folder, weights = (path, path / WEIGHTS_FILE) if path.is_dir() else (path.parent, path)
        source = folder / CONFIG_FILE
        config, tensors = _read_config(source), _read_weights(weights)
    try:
        propagator = build_model(config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    _load_strictly(propagator, tensors, path)
    metadata = config.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError(f"{source}: metadata is {type(metadata).__name__}, expected an object")
    return propagator.to(device).eval(), metadata


def load_flow(path: str | Path) -> FlowEstimator:
    """The trained flow estimator of a model alone, for another segmentor with as many queries of the same width.

    Args:
        path: see :func:`load_model`.

    Raises:
        FileNotFoundError, ValueError: see :func:`load_model`.
    """
    return load_model(path)[0].flow


def _flow_name(propagator: Propagator) -> str:
    for name, estimator in FLOW_ESTIMATORS.items():
        if type(propagator.flow) is estimator:
            return name
    raise ValueError(
        f"{type(propagator.flow).__name__} is not a registered flow estimator; known are {', '.join(FLOW_ESTIMATORS)}"
    )


def _may_replace(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return _read_config(folder / CONFIG_FILE).get("format") == FORMAT
    except (FileNotFoundError, ValueError):
        return False


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, expected an object")
    return config


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable safetensors file (damaged or cut short?): {error}") from error


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # On a damaged file torch's unpickler fails in any way it likes.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a checkpoint of tensors and plain values: {error}") from error
    if not isinstance(checkpoint, dict) or not {"model_config", "state_dict"} <= set(checkpoint):
        raise ValueError(f"{path} is not a checkpoint of this project: expected the keys 'model_config' and 'state_dict'")
    tensors = {
        name.removeprefix(CHECKPOINT_PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(CHECKPOINT_PREFIX)
    }
    config = checkpoint["model_config"]
    if not isinstance(config, dict):
        raise ValueError(f"{path}: model_config is {type(config).__name__}, expected a dict")
    return config, tensors


def _load_strictly(propagator: Propagator, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = propagator.state_dict()
    faults = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    faults += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if faults:
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise ValueError(f"{path} does not fit the network of its config:\n  " + "\n  ".join(shown))
    propagator.load_state_dict(dict(tensors))
