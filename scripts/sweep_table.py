"""Tabulate (Markdown, CSV) and plot a finished multirun, an evaluation at several key intervals, or W&B runs.

python scripts/sweep_table.py outputs/quickstart/sweeps/<time>            jobs of `python -m src.train -m ...`
python scripts/sweep_table.py outputs/quickstart/intervals.json           rows of `python -m src.eval`
python scripts/sweep_table.py <entity>/<project> --wandb --group <name> --output <name>
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
from rich.console import Console

# The package is not installed: it is in the folder above this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.sweep_runs import Run, read_evaluation, read_multirun, read_wandb
from src.files.atomic_write import write_rgb, write_text
from src.files.tables import markdown_table
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


@dataclass
class Line:
    """Runs that differ only in the repeated setting (the seed)."""

    settings: dict[str, str]
    runs: list[Run]

    @property
    def ended(self) -> int:
        """Number of finished runs."""
        return sum(bool(run.metrics) for run in self.runs)

    def values(self, metric: str) -> list[float]:
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]


def lines_of(runs: Sequence[Run], repeated: str) -> list[Line]:
    """Group the runs by their settings, without those that are equal in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name != repeated)
    swept = [name for name in names if len({run.settings.get(name) for run in runs}) > 1]
    lines: dict[tuple[str, ...], Line] = {}
    for run in runs:
        settings = {name: run.settings.get(name, "") for name in swept}
        lines.setdefault(tuple(settings.values()), Line(settings, [])).runs.append(run)
    return list(lines.values())


def metrics_of(runs: Sequence[Run], requested: Sequence[str] | None) -> list[str]:
    """Return the metrics to show: the requested ones, or the known ones of ``SHOWN``."""
    known = sorted({name for run in runs for name in run.metrics})
    unknown = sorted(set(requested or ()) - set(known))
    if unknown:
        raise ValueError(f"no run has {', '.join(unknown)}; expected some of {', '.join(known) or 'no metrics'}")
    shown = list(requested or (name for name in SHOWN if name in known))
    if not shown:
        raise ValueError(f"no run has finished with one of {', '.join(SHOWN)}; --metrics names others")
    return shown


def markdown(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """Format the table; scores in percent, with the standard deviation where a setting was repeated."""
    columns = [*lines[0].settings, "runs", *(f"{name}, %" if _scale(name) > 1 else name for name in metrics)]
    rows = [
        [*line.settings.values(), str(line.ended), *(_cell([_scale(name) * x for x in line.values(name)]) for name in metrics)]
        for line in lines
    ]
    return markdown_table(columns, rows) + "\n"


def table_csv(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """Format the same values in full precision, scores 0..1: mean and, where a setting was repeated, standard deviation."""
    rows = []
    for line in lines:
        row: dict[str, object] = {**line.settings, "runs": line.ended}
        for name in metrics:
            values = line.values(name)
            row |= {name: fmean(values) if values else None, f"{name}_std": stdev(values) if len(values) > 1 else None}
        rows.append(row)
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")


def curves(lines: Sequence[Line], metric: str, axis: str | None) -> tuple[str, dict[str, dict[str, list[float]]]]:
    """Return the name of the plot's axis, and line -> value on the axis -> results."""
    swept = list(lines[0].settings)
    # In an evaluation the key interval is the axis, and each method is a line.
    axis = axis or ("key_interval" if "key_interval" in swept else swept[0] if swept else "setting")
    if swept and axis not in swept:
        raise ValueError(f"--axis {axis}: expected a setting that differs between the runs ({', '.join(swept)})")
    drawn: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        name = ", ".join(value or "default" for key, value in line.settings.items() if key != axis)
        values = [_scale(metric) * value for value in line.values(metric)]
        if values:
            drawn.setdefault(name, {}).setdefault(line.settings.get(axis) or "default", []).extend(values)
    return axis, drawn


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
    parser.add_argument("--repeated", default="seed", help="runs that differ only in this setting are averaged; default: seed")
    parser.add_argument("--evaluation", default="table.json", help="file of src.eval to look for in each job")
    parser.add_argument("--output", type=Path, help="<name> of <name>.md, .csv and .png; default: sweep, in the folder")
    parser.add_argument("--overwrite", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Write and print the table; return the exit code."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        runs, default = _read(options)
        output = options.output or default
        files = [output.with_name(output.name + suffix) for suffix in (".md", ".csv", ".png")]
        existing = [str(file) for file in files if file.exists()]
        if existing and not options.overwrite:
            raise FileExistsError(f"{', '.join(existing)} exist already: name another --output or add --overwrite")
        metrics, lines = metrics_of(runs, options.metrics), lines_of(runs, options.repeated)
        axis, drawn = curves(lines, metrics[0], options.axis)
        unit = ", %" if _scale(metrics[0]) > 1 else ""
        picture = sweep_picture(drawn, axis, metrics[0] + unit)
        text = markdown(lines, metrics)
        write_text(files[0], text)
        write_text(files[1], table_csv(lines, metrics))
        write_rgb(picture, files[2])
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red")
        return 2
    console.print(text, end="")
    unfinished = [f"{run.name} ({', '.join(f'{k}={v}' for k, v in run.settings.items())})" for run in runs if not run.metrics]
    if unfinished:
        console.print(f"left out, not finished: {'; '.join(unfinished)}", style="yellow")
    console.print(f"written: {', '.join(map(str, files))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
