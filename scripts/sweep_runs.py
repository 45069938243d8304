"""Settings and metrics of the runs of a multirun, an evaluation or a W&B project, for scripts/sweep_table.py."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

# Settings that name a run and do not describe it.
_NAMES = ("run_dir", "folder", "save_dir", "default_root_dir", "seed")


@dataclass
class Run:
    """Settings and metrics of one job or one row of an evaluation; no metrics where the job has not finished."""

    name: str
    settings: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)


def read_multirun(folder: Path, evaluation: str) -> list[Run]:
    """Read the jobs of a multirun with their last logged metrics; each row of a job's file ``evaluation`` is a run."""
    jobs = [path.parent.parent for path in folder.glob("*/.hydra/overrides.yaml")]
    if not jobs:
        raise ValueError(
            f"{folder}: no job of a multirun in it; expected {folder.name}/0/.hydra/overrides.yaml, {folder.name}/1/..., ..."
        )
    runs = []
    for job in sorted(jobs, key=lambda job: (len(job.name), job.name)):
        overrides = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")) or []
        settings = {key.lstrip("+"): value for key, _, value in (str(line).partition("=") for line in overrides)}
        # The model is written last: without it the job stopped early, and its figures are not comparable.
        if not (job / "model").is_dir():
            runs.append(Run(job.name, settings))
            continue
        metrics = last_logged(job)
        table = job / evaluation
        rows = read_evaluation(table) if table.is_file() else [Run("", {})]
        runs += [Run(job.name, settings | row.settings, metrics | row.metrics) for row in rows]
    return runs


def last_logged(job: Path) -> dict[str, float]:
    """Read the last value of every metric from the CSV files of a job; a resumed job has several."""
    found: dict[str, float] = {}
    for path in sorted(job.glob("csv/*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name)):
        logged = pd.read_csv(path).ffill().iloc[-1].dropna()
        found |= {name: float(value) for name, value in logged.items() if "/" in str(name)}
    return found


def read_evaluation(path: Path) -> list[Run]:
    """Read the rows of a table of src.eval."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"method", "key_interval"} <= row.keys() for row in rows):
        raise ValueError(f"{path}: expected a list of rows with method and key_interval, as src.eval writes for a checkpoint")
    names = ("method", "mode", "fusion", "fuse_keys", "key_interval")
    return [Run(path.name, {name: str(row[name]) for name in names if name in row}, _numbers(row)) for row in rows]


def read_wandb(project: str, group: str | None) -> list[Run]:
    """Read the runs of a W&B project: the settings in which they differ, and their summaries."""
    import wandb  # takes a second; other sources do not need it

    found = list(wandb.Api().runs(project, filters={"group": group} if group else None))
    if not found:
        raise ValueError(f"{project}: no W&B run" + (f" in group {group!r}" if group else ""))
    configs = [flat(run.config) for run in found]
    keys = [*distinguishing_keys(configs), "seed"]
    runs = []
    for run, config in zip(found, configs, strict=True):
        ended = {name: run.summary.get(name) for name in list(run.summary.keys())} if run.state == "finished" else {}
        runs.append(Run(run.name, {key: config.get(key, "") for key in keys}, _numbers(ended)))
    return runs


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested settings to ``a.b.c`` -> text."""
    result: dict[str, str] = {}
    for key, value in config.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return result


def distinguishing_keys(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """Choose few keys that distinguish the configurations as all keys do; of an interpolated value's keys, the shortest."""
    keys = {key for config in configs for key in config if key.split(".")[-1] not in _NAMES}
    values = {key: [config.get(key, "") for config in configs] for key in keys}
    chosen: list[str] = []
    groups = [()] * len(configs)
    for key in sorted(keys, key=lambda key: (-len(set(values[key])), len(key), key)):
        finer = [(*group, value) for group, value in zip(groups, values[key], strict=True)]
        if len(set(finer)) > len(set(groups)):
            chosen.append(key)
            groups = finer
    return chosen


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if type(value) in (int, float) and math.isfinite(value)}
