"""Settings of a training that its results depend on, by the names of their options."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from src.data.clips import ClipDataset
from src.data.datamodule import PairDataModule
from src.files.atomic_write import write_text
from src.files.results.fingerprint import fingerprint
from src.training.checkpointing.run_record import PASSES, flatten

_ROOTS = (
    "seed",
    "batch_size",
    "stage",
    "datamodule",
    "model.warp_grid",
    "trainer",
    "callbacks.best.monitor",
    "callbacks.best.mode",
)
# Where and how a run computes and reports, and limits that end a run: the same results with any value.
_WITHOUT_EFFECT = (
    *(
        "num_workers",
        "data.on_corrupt",
        "run_dir",
        "trainer.accelerator",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.strategy",
    ),
    *("trainer.plugins", "trainer.default_root_dir", "trainer.use_distributed_sampler", "trainer.log_every_n_steps"),
    *("trainer.enable_model_summary", "trainer.enable_progress_bar", "trainer.enable_checkpointing", "trainer.inference_mode"),
    *("trainer.accumulate_grad_batches", "trainer.num_sanity_val_steps", "trainer.max_time", "trainer.profiler"),
)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}", re.ASCII)


def option_values(cfg: DictConfig) -> dict[str, Any]:
    """Return the plain values of all options that results depend on, by dotted name; a weights file is a hash of its content.

    Args:
        cfg: composed configuration of ``conf/train.yaml``, before Hydra's ``instantiate``, which replaces its interpolations.
    """
    raw, resolved = (OmegaConf.to_container(cfg, resolve=resolve) for resolve in (False, True))
    found: dict[str, Any] = {}
    for root in _ROOTS:
        _collect(raw, _at(raw, root), _at(resolved, root), root, found)
    return {
        name: _with_hash(value) if name.startswith(("stage.", "model.")) else value
        for name, value in found.items()
        if not any(name == other or name.startswith(f"{other}.") for other in _WITHOUT_EFFECT)
    }


def run_settings(
    options: dict[str, Any], trainer: Trainer, datamodule: PairDataModule, network: dict[str, Any]
) -> dict[str, Any]:
    """Return the settings of :class:`src.training.checkpointing.run_record.RunRecord`.

    Beside options there are: pairs per step and passes per step, class names, a fingerprint of the clips (names, files, labelled
    frames), and the configuration of the network that training starts from.

    Args:
        options: from :func:`option_values`.
        trainer: its world size and accumulated passes are final.
        datamodule: data of the run.
        network: from :func:`src.weights.model_folder.model_config`.
    """
    passes = trainer.accumulate_grad_batches
    settings = options | {"pairs per step": datamodule.batch_size * trainer.world_size * passes, PASSES: passes}
    settings |= flatten(list(datamodule.val.classes), "classes")
    clips = {"train": [datamodule.train], "val": [datamodule.val], "extra_train": [x.dataset for x in datamodule.extra_train]}
    settings |= {f"clips of {split}": _fingerprint(datasets) for split, datasets in clips.items()}
    return settings | flatten({name: value for name, value in network.items() if name != "metadata"}, "network")


def record_command(cfg: DictConfig, folder: Path) -> None:
    """Write the configuration and the command line of a Hydra job to ``.hydra`` of its folder; without a job nothing.

    Hydra would write them before the job starts, over those of an earlier run whose replacement or continuation is refused.
    """
    if not HydraConfig.initialized():
        return
    job = HydraConfig.get()
    for name, content in (("config", cfg), ("hydra", {"hydra": job}), ("overrides", job.overrides.task)):
        write_text(folder / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(content))


def _collect(whole: Any, raw: Any, resolved: Any, name: str, found: dict[str, Any]) -> None:
    """Add the values below a node by the option names that they come from: ``datamodule.seed``, ``${seed}``, is ``seed``."""
    while isinstance(raw, str) and (reference := _REFERENCE.fullmatch(raw)):
        name = reference[1]
        raw = _at(whole, name)
    if isinstance(resolved, dict):
        for key, value in resolved.items():
            _collect(whole, raw.get(key) if isinstance(raw, dict) else None, value, f"{name}.{key}", found)
    elif isinstance(resolved, list) and any(isinstance(value, dict | list) for value in resolved):
        for number, value in enumerate(resolved):
            inner = raw[number] if isinstance(raw, list) and number < len(raw) else None
            _collect(whole, inner, value, f"{name}.{number}", found)
    else:
        found |= flatten(resolved, name)


def _at(node: Any, name: str) -> Any:
    for part in name.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _with_hash(value: Any) -> Any:
    """Return the hash of weights at a path, as another model may take its place; other values unchanged."""
    if not isinstance(value, str) or not value or len(value) > 4096 or not Path(value).exists():
        return value
    files = [Path(value)] if Path(value).is_file() else sorted(Path(value).glob("*.safetensors"))
    return ", ".join(f"{path.name} of sha256 {str((fingerprint(path) or {})['sha256'])[:16]}" for path in files) or value


def _fingerprint(datasets: Sequence[ClipDataset]) -> str:
    digest, frames = hashlib.sha256(), 0
    for clip in (clip for dataset in datasets for clip in dataset.clips):
        names = [(image.name, label and label.name) for image, label in zip(clip.images, clip.labels, strict=True)]
        digest.update(repr((clip.name, names)).encode())
        frames += len(clip)
    return f"{sum(len(dataset.clips) for dataset in datasets)} with {frames} frames, sha256 {digest.hexdigest()[:16]}"
