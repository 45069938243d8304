"""A table (Markdown, CSV) and a plot of a finished multirun, of an evaluation at several key intervals, or of W&B runs.

python scripts/sweep_table.py outputs/quickstart/sweeps/<time>            jobs of `python -m src.train -m ...`
python scripts/sweep_table.py outputs/quickstart/intervals.json           rows of `python -m src.eval`
python scripts/sweep_table.py <entity>/<project> --wandb --group <name> --output <name>
"""

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from PIL import Image
from rich.console import Console

# The package is not installed: it lies beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.files.atomic_write import atomic_path, write_text
from src.visualization.charts import sweep_picture

SHOWN = (
    "miou",
    "wiou",
    "vc8",
    "vc16",
    "gflops",
    "ms_key",
    "ms_nonkey",
    "val/miou",
    "val/streamed_miou",
    "val/wiou",
    "val/epe",
    "model/gflops",
)
PERCENT = ("miou", "streamed_miou", "wiou", "vc8", "vc16")
# Of what a configuration says, these name a run and do not describe it.
_NAMES = ("run_dir", "folder", "save_dir", "default_root_dir", "seed")


@dataclass
class Run:
    """One job, or one row of an evaluation: what was set, and what came of it (empty where it has not ended)."""

    name: str
    settings: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)


def read_multirun(folder: Path, evaluation: str) -> list[Run]:
    """The jobs of a multirun: metrics last logged; where a job holds the file ``evaluation`` of src.eval, a run per row of it."""
    jobs = [path.parent.parent for path in folder.glob("*/.hydra/overrides.yaml")]
    if not jobs:
        raise ValueError(f"{folder}: no job of a multirun in it (<job>/.hydra/overrides.yaml); expected {folder.name}/0, 1, ...")
    runs = []
    for job in sorted(jobs, key=lambda job: (len(job.name), job.name)):
        overrides = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")) or []
        settings = {key.lstrip("+"): value for key, _, value in (str(line).partition("=") for line in overrides)}
        # The model is written last: without it the job stopped early, and its figures would not compare.
        if not (job / "model").is_dir():
            runs.append(Run(job.name, settings))
            continue
        metrics = last_logged(job)
        table = job / evaluation
        rows = read_evaluation(table) if table.is_file() else [Run("", {})]
        runs += [Run(job.name, settings | row.settings, metrics | row.metrics) for row in rows]
    return runs


def last_logged(job: Path) -> dict[str, float]:
    """The last value of every metric in the CSV files of a job; a resumed one has several."""
    found: dict[str, float] = {}
    for path in sorted(job.glob("csv/*/metrics.csv"), key=lambda path: (len(path.parent.name), path.parent.name)):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found |= {name: float(value) for name, value in row.items() if "/" in name and value}
    return found


def read_evaluation(path: Path) -> list[Run]:
    """The rows of a table of src.eval."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"method", "key_interval"} <= row.keys() for row in rows):
        raise ValueError(f"{path}: expected a list of rows with method and key_interval, as src.eval writes for a checkpoint")
    return [Run(path.name, {name: str(row[name]) for name in ("method", "key_interval")}, _numbers(row)) for row in rows]


def read_wandb(project: str, group: str | None) -> list[Run]:
    """Runs of a W&B project: the settings that tell them apart, and their summaries."""
    import wandb  # takes a second, and the other sources do without

    found = list(wandb.Api().runs(project, filters={"group": group} if group else None))
    if not found:
        raise ValueError(f"{project}: no W&B run" + (f" in group {group!r}" if group else ""))
    configs = [flat(run.config) for run in found]
    keys = [*telling_apart(configs), "seed"]
    runs = []
    for run, config in zip(found, configs, strict=True):
        ended = {name: run.summary.get(name) for name in list(run.summary.keys())} if run.state == "finished" else {}
        runs.append(Run(run.name, {key: config.get(key, "") for key in keys}, _numbers(ended)))
    return runs


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``a.b.c`` -> text."""
    result: dict[str, str] = {}
    for key, value in config.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return result


def telling_apart(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """Few keys that tell the configurations apart as well as all do; of an interpolated value's many places, the shortest."""
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


@dataclass
class Line:
    """Runs that differ in nothing but the repeated setting (the seed)."""

    settings: dict[str, str]
    runs: list[Run]

    def values(self, metric: str) -> list[float]:
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]


def lines_of(runs: Sequence[Run], repeated: str) -> list[Line]:
    """One line per setting, without what is the same everywhere; numbers in order."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name != repeated)
    swept = [name for name in names if len({run.settings.get(name) for run in runs}) > 1]
    lines: dict[tuple[str, ...], Line] = {}
    for run in runs:
        settings = {name: run.settings.get(name, "") for name in swept}
        lines.setdefault(tuple(settings.values()), Line(settings, [])).runs.append(run)
    return list(lines.values())


def metrics_of(runs: Sequence[Run], asked: Sequence[str] | None) -> list[str]:
    """The metrics to show: those asked for, or the usual ones that there are."""
    known = sorted({name for run in runs for name in run.metrics})
    unknown = sorted(set(asked or ()) - set(known))
    if unknown:
        raise ValueError(f"no run has {', '.join(unknown)}; there are {', '.join(known) or 'no metrics'}")
    shown = list(asked or (name for name in SHOWN if name in known))
    if not shown:
        raise ValueError(f"nothing to show: no run has ended with one of {', '.join(SHOWN)}; --metrics names others")
    return shown


def markdown(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """The table; scores in percent, and the spread where a setting was repeated."""
    header = [*lines[0].settings, "runs", *(f"{name}, %" if _scale(name) > 1 else name for name in metrics)]
    rows = [header, ["---"] * len(header)]
    for line in lines:
        rows.append([*line.settings.values(), str(sum(bool(run.metrics) for run in line.runs))])
        rows[-1] += [_cell([_scale(name) * value for value in line.values(name)]) for name in metrics]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def table_csv(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """The same in full precision, scores 0..1: mean, and standard deviation where there is one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*lines[0].settings, "runs", *(column for name in metrics for column in (name, f"{name}_std"))])
    for line in lines:
        figures: list[object] = []
        for values in map(line.values, metrics):
            figures += [fmean(values) if values else "", stdev(values) if len(values) > 1 else ""]
        writer.writerow([*line.settings.values(), sum(bool(run.metrics) for run in line.runs), *figures])
    return text.getvalue()


def curves(lines: Sequence[Line], metric: str, axis: str | None) -> tuple[str, dict[str, dict[str, list[float]]]]:
    """What the plot shows: the name of its axis, and line -> value on the axis -> results."""
    swept = list(lines[0].settings)
    # Of an evaluation's rows the interval is the axis, and the method tells the lines apart.
    axis = axis or ("key_interval" if "key_interval" in swept else swept[0] if swept else "setting")
    if swept and axis not in swept:
        raise ValueError(f"--axis {axis}: what differs between the runs is {', '.join(swept)}")
    drawn: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        name = ", ".join(value or "default" for key, value in line.settings.items() if key != axis)
        values = [_scale(metric) * value for value in line.values(metric)]
        if values:
            drawn.setdefault(name, {}).setdefault(line.settings.get(axis) or "default", []).extend(values)
    return axis, drawn


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if type(value) in (int, float) and math.isfinite(value)}


def _scale(metric: str) -> int:
    return 100 if metric.split("/")[-1].startswith(PERCENT) else 1


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{fmean(values):.4g}{spread}" if values else "-"


def _read(options: argparse.Namespace) -> tuple[list[Run], Path]:
    if options.wandb:
        return read_wandb(options.source, options.group), Path("sweep")
    source = Path(options.source)
    if source.is_dir():
        return read_multirun(source, options.evaluation), source / "sweep"
    return read_evaluation(source), source.with_name(f"{source.stem}_sweep")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of a multirun, JSON file of src.eval, or with --wandb <entity>/<project>")
    parser.add_argument("--wandb", action="store_true", help="the source is a W&B project; offline runs are synced first")
    parser.add_argument("--group", help="W&B group; in this project the name of the experiment")
    parser.add_argument("--metrics", nargs="+", help=f"the first is drawn; default, where there: {', '.join(SHOWN)}")
    parser.add_argument("--axis", help="the setting along the plot's axis; default: key_interval, or the first that differs")
    parser.add_argument("--repeated", default="seed", help="runs that differ in this alone are averaged; default: seed")
    parser.add_argument("--evaluation", default="table.json", help="file of src.eval to look for in each job")
    parser.add_argument("--output", type=Path, help="<name> of <name>.md, .csv and .png; default: sweep, in the folder")
    parser.add_argument("--overwrite", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        runs, default = _read(options)
        output = options.output or default
        files = [output.with_name(output.name + suffix) for suffix in (".md", ".csv", ".png")]
        taken = [str(file) for file in files if file.exists()]
        if taken and not options.overwrite:
            raise FileExistsError(f"{', '.join(taken)} exist already: name another --output or add --overwrite")
        metrics, lines = metrics_of(runs, options.metrics), lines_of(runs, options.repeated)
        axis, drawn = curves(lines, metrics[0], options.axis)
        unit = ", %" if _scale(metrics[0]) > 1 else ""
        picture = sweep_picture(drawn, axis, metrics[0] + unit)
        text = markdown(lines, metrics)
        write_text(files[0], text)
        write_text(files[1], table_csv(lines, metrics))
        with atomic_path(files[2]) as file:
            Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(file)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red")
        return 2
    console.print(text, end="")
    unfinished = [f"{run.name} ({', '.join(f'{k}={v}' for k, v in run.settings.items())})" for run in runs if not run.metrics]
    if unfinished:
        console.print(f"left out, not ended: {'; '.join(unfinished)}", style="yellow")
    console.print(f"written: {', '.join(map(str, files))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
