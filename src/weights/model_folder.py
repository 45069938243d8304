"""Model folder of ``config.json`` and ``model.safetensors``, from which a trained model is rebuilt without other files."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from src.models.flow import FLOW_ESTIMATORS, FlowEstimator
from src.models.propagator import Propagator
from src.models.segmentors.registry import build_segmentor
from src.weights.folder_files import (
    CLIP_FORMAT,
    CONFIG_FILE,
    WEIGHTS_FILE,
    plain_json,
    read_checkpoint,
    read_config,
    read_header,
    read_weights,
    write_folder,
)
from src.weights.metadata import check_arguments
from src.weights.rebuilding import rebuild
from src.weights.shipped import shipped_model

logger = logging.getLogger(__name__)

FORMAT = "mpvss-model"
FLOW_FORMAT = "mpvss-flow"
"""Format of a folder with only a flow estimator."""
FORMAT_VERSION = 1
CHECKPOINT_PREFIX = "propagator."
"""Prefix of the model's tensors in a Lightning checkpoint."""


def model_config(propagator: Propagator, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the configuration for :func:`build_model`, as plain JSON values (tuples become lists).

    Args:
        propagator: network with a registered flow estimator.
        metadata: further JSON values of the model: class names, palette, evaluation short side.
    """
    return plain_json(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "segmentor": propagator.segmentor.config(),
            "flow": _flow_config(propagator.flow),
            "warp_grid": propagator.warp_grid,
            "metadata": dict(metadata or {}),
        }
    )


def build_model(config: Mapping[str, Any]) -> Propagator:
    """Build the network of a config with fresh weights, without downloads and without running code of the config.

    Raises:
        ValueError: if the config is not from :func:`model_config`, or has an unknown flow estimator.
    """
    if config.get("format") == FLOW_FORMAT:
        raise ValueError(
            f"format is {FLOW_FORMAT!r}, a flow without a segmentor; expected {FORMAT!r}; use the folder as model/flow=pretrained"
        )
    _check_format(config, FORMAT)
    missing = [key for key in ("segmentor", "flow", "warp_grid") if key not in config]
    if missing:
        raise ValueError(f"model config has no {', '.join(missing)}")
    estimator = _build_flow(config["flow"])
    if config["warp_grid"] not in ("exact", "reference"):
        raise ValueError(f"warp_grid is {config['warp_grid']!r}; expected 'exact' or 'reference'")
    try:
        segmentor = build_segmentor(config["segmentor"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"model config does not fit this code: {type(error).__name__}: {error}") from error
    divisor = getattr(estimator, "size_divisor", segmentor.size_divisor)
    if divisor != segmentor.size_divisor:
        raise ValueError(f"size_divisor of the flow is {divisor}; expected that of the segmentor, {segmentor.size_divisor}")
    return Propagator(segmentor, estimator, config["warp_grid"])


def save_model(propagator: Propagator, folder: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write and return a model folder by :func:`src.weights.folder_files.write_folder`; its config is :func:`model_config`.

    Raises:
        FileExistsError: if ``folder`` is a file, or a non-empty folder that is not a model folder.
    """
    folder = Path(folder)
    write_folder(folder, model_config(propagator, metadata), propagator, (FORMAT, FLOW_FORMAT))
    return folder


def save_flow(flow: FlowEstimator, folder: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a folder with only a flow estimator, for :func:`load_flow`; otherwise as :func:`save_model`."""
    config = {"format": FLOW_FORMAT, "format_version": FORMAT_VERSION, "flow": _flow_config(flow)}
    write_folder(Path(folder), plain_json(config | {"metadata": dict(metadata or {})}), flow, (FORMAT, FLOW_FORMAT))
    return Path(folder)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> tuple[Propagator, dict[str, Any]]:
    """Rebuild a trained model in eval mode. Files are read as data; nothing in them is executed.

    Args:
        path: model folder, the ``.safetensors`` file in it, a Lightning checkpoint (``.ckpt``) of this project, or the name of
            a shipped model.
        device: device of the model.

    Returns:
        The network and its saved metadata.

    Raises:
        FileNotFoundError: if the path, or a file of the folder, does not exist.
        ValueError: if a file is damaged or of another kind, or its tensors are not exactly those of the network.
    """
    path = shipped_model(path)
    if not path.exists():
        found = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise FileNotFoundError(f"{path} {found}; expected a folder of {CONFIG_FILE} and {WEIGHTS_FILE}, or a .ckpt")
    if path.is_file() and path.suffix != ".safetensors":
        config, tensors = read_checkpoint(path, CHECKPOINT_PREFIX)
        propagator = rebuild(build_model, config, "flow.", lambda: tensors, tensors, path, path)
    else:
        folder, weights = (path, path / WEIGHTS_FILE) if path.is_dir() else (path.parent, path)
        config = read_config(folder / CONFIG_FILE)
        header = read_header(weights)
        propagator = rebuild(build_model, config, "flow.", lambda: read_weights(weights), header, path, folder / CONFIG_FILE)
    return propagator.to(device).eval(), config.get("metadata", {})


def load_flow(path: str | Path, into: FlowEstimator | None = None) -> FlowEstimator:
    """Load only the flow estimator of a trained model, for another segmentor with as many queries of the same width.

    Args:
        path: model as of :func:`load_model`, or a folder of :func:`save_flow`.
        into: fresh estimator that receives only the trained encoder; as in the paper, where FlowNet's encoder initialises the
            query flow.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_model`; or if ``into`` has another encoder.
    """
    flow = _load_flow_folder(Path(path)) or load_model(path)[0].flow
    if into is None:
        return flow
    own = into.state_dict()
    tensors, replaced = (
        {name: value for name, value in state.items() if name.startswith("encoder.")} for state in (flow.state_dict(), own)
    )
    if not tensors or {name: x.shape for name, x in replaced.items()} != {name: x.shape for name, x in tensors.items()}:
        raise ValueError(
            f"{path}: the encoder of its {type(flow).__name__} has other tensors; expected those of {type(into).__name__}"
        )
    into.load_state_dict(own | tensors)
    logger.info("%s: encoder (%d tensors) loaded from %s, the other %d tensors are new", type(into).__name__, len(tensors), path,
                len(own) - len(tensors))  # fmt: skip
    return into


def _load_flow_folder(path: Path) -> FlowEstimator | None:
    folder = path.parent if path.suffix == ".safetensors" else path
    source = folder / CONFIG_FILE
    if not source.is_file() or read_config(source).get("format") != FLOW_FORMAT:
        return None
    weights = folder / WEIGHTS_FILE
    return rebuild(_build_flow_only, read_config(source), "", lambda: read_weights(weights), read_header(weights), folder, source)


def _build_flow_only(config: Mapping[str, Any]) -> FlowEstimator:
    _check_format(config, FLOW_FORMAT)
    return _build_flow(config.get("flow"))


def _check_format(config: Mapping[str, Any], expected: str) -> None:
    if config.get("format") == CLIP_FORMAT:
        raise ValueError(f"format is {CLIP_FORMAT!r}, a clip segmentor; expected {expected!r}; src.predict and src.eval run it")
    if config.get("format") != expected:
        raise ValueError(f"format is {config.get('format')!r}; expected {expected!r}, as in a model config of this project")
    if config.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"format_version is {config.get('format_version')!r}; expected {FORMAT_VERSION}")


def _flow_config(flow: FlowEstimator) -> dict[str, Any]:
    for name, estimator in FLOW_ESTIMATORS.items():
        if type(flow) is estimator:
            return {"name": name, "config": flow.config()}
    raise ValueError(f"flow is {type(flow).__name__}; expected a registered flow estimator: {', '.join(FLOW_ESTIMATORS)}")


def _build_flow(flow: Any) -> FlowEstimator:
    if not isinstance(flow, Mapping) or "name" not in flow or not isinstance(flow.get("config", {}), Mapping):
        raise ValueError(f"flow is {repr(flow)[:200]}; expected {{'name': ..., 'config': {{...}}}}")
    if not isinstance(flow["name"], str) or flow["name"] not in FLOW_ESTIMATORS:
        raise ValueError(f"flow estimator is {str(flow['name'])[:200]!r}; expected one of {', '.join(FLOW_ESTIMATORS)}")
    check_arguments(FLOW_ESTIMATORS[flow["name"]], flow.get("config", {}))
    try:
        return FLOW_ESTIMATORS[flow["name"]](**flow.get("config", {}))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"flow config does not fit this code: {type(error).__name__}: {error}") from error
