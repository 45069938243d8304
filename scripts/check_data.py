"""Read every frame and label of a data set and say what is wrong: python scripts/check_data.py data=vspw data.root=<folder>

Exit code 0: nothing. 1: faults, all in the JSON report (`output`); `data.exclude=<list>` makes training and evaluation do without
what is faulty. 2: the check could not be made. `conf/check_data.yaml` lists the settings.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# The package is not installed: it lies beside this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line import prepare_arguments

if TYPE_CHECKING:
    from src.data.integrity.check import CheckableDataset, SplitReport
    from src.data.integrity.issues import DatasetIssue


def check(cfg: DictConfig, console: Console) -> int:
    """The number of faults; the report, the list and the table are written.

    Raises:
        FileExistsError: if a report would be overwritten unasked.
        ValueError: if no data set is chosen, or `splits` names none.
    """
    if "data" not in cfg:
        raise ValueError("no data set is chosen; expected data=<name>, the name of a file in conf/data")
    # After the checks: these imports take seconds.
    from src.data.integrity.check import SplitReport, check_splits
    from src.data.integrity.issues import DatasetIssue

    output, exclusion = Path(cfg.output), Path(cfg.exclusion)
    taken = [str(path) for path in (output, exclusion) if path.exists()]
    if taken and not cfg.overwrite:
        raise FileExistsError(f"{' and '.join(taken)} exist already: name other files or set overwrite=true")
    noted: dict[str, list[DatasetIssue]] = {}
    datasets: dict[str, CheckableDataset] = {}
    for name in distinct_splits(cfg):
        noted[name] = []
        try:
            datasets[name] = open_split(cfg.data[name.split("/")[0]], noted[name])
        except (OSError, ValueError) as error:
            noted[name].append(DatasetIssue("layout", Path(cfg.data.root), str(error)))
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("frames", total=None)
        reports = check_splits(datasets, cfg.workers, lambda done, total: progress.update(task, completed=done, total=total))
    for name, faults in noted.items():
        reports.setdefault(name, SplitReport()).faults[:0] = faults
    write_reports(reports, cfg, output, exclusion)
    show(reports, cfg, console)
    console.print(f"written: {output} and {exclusion}", highlight=False, soft_wrap=True)
    return sum(len(report.faults) for report in reports.values())


def distinct_splits(cfg: DictConfig) -> list[str]:
    """Names of the entries to check; those with the same settings share one, as in ``val/test``."""
    names: dict[str, list[str]] = {}
    for name in cfg.splits:
        if name not in ("train", "val", "test"):
            raise ValueError(f"splits has {name!r}; expected train, val or test")
        node = cfg.data[name]
        arguments = {key: node[key] for key in node if not key.startswith("_")}
        bound = inspect.signature(get_object(node["_target_"])).bind_partial(**arguments)
        # What one entry leaves to its default, another may say.
        bound.apply_defaults()
        names.setdefault(f"{node['_target_']} {bound.arguments}", []).append(name)
    return ["/".join(group) for group in names.values()]


def open_split(node: DictConfig, noted: list[DatasetIssue]) -> CheckableDataset:
    """The dataset, its faults noted instead of raised where it can note them."""
    if "faults" in inspect.signature(get_object(node["_target_"])).parameters:
        # Not as an argument of instantiate, which would hand over a copy of the list.
        return instantiate(node, _partial_=True)(faults=noted)
    return instantiate(node)


def write_reports(reports: dict[str, SplitReport], cfg: DictConfig, output: Path, exclusion: Path) -> None:
    from src.data.integrity.check import exclusion_of
    from src.data.shards.path import dataset_root
    from src.files.atomic_write import write_text

    root = dataset_root(cfg.data.root)
    content = {
        "data": cfg.data.name,
        "root": str(root),
        "faults": sum(len(report.faults) for report in reports.values()),
        "splits": {name: report.as_json(root) for name, report in reports.items()},
    }
    write_text(output, json.dumps(content, indent=1) + "\n")
    exclusion_of((fault for report in reports.values() for fault in report.faults), root).write(exclusion)


def show(reports: dict[str, SplitReport], cfg: DictConfig, console: Console) -> None:
    table = Table(title=f"{cfg.data.name} at {cfg.data.root}")
    for column in ("split", "clips", "published", "frames", "labelled", "void only", "clip length", "sizes (HxW)", "faults"):
        table.add_column(column, justify="left" if column == "split" else "right")
    published = cfg.data.get("published_clips") or {}
    for name, report in reports.items():
        expected = published.get(cfg.data[name.split("/")[0]].get("split"), "")
        sizes = ", ".join(size for size, _ in report.sizes.most_common(2)) + (", ..." if len(report.sizes) > 2 else "")
        length = f"{report.shortest}..{report.longest}"
        counts = (report.clips, expected, report.frames, report.labelled, report.void_only, length, sizes, len(report.faults))
        table.add_row(name, *map(str, counts))
    console.print(table)
    for name, report in reports.items():
        for kind in dict.fromkeys(fault.kind for fault in report.faults):
            found = [fault for fault in report.faults if fault.kind == kind]
            console.print(f"{name}, {kind}: {len(found)}", style="bold red", highlight=False)
            for fault in found[:3]:
                console.print(f"  {fault.message}", highlight=False, markup=False, soft_wrap=True)


@hydra.main(version_base="1.3", config_path="../conf", config_name="check_data")
def main(cfg: DictConfig) -> None:
    """Check, and end with the exit code."""
    # In a log file nothing says how wide the page is, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        faults = check(cfg, console)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; nothing is written", style="red")
        sys.exit(130)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    prepare_arguments()
    main()
