"""Check every frame and label of a dataset: python scripts/check_data.py data=vspw data.root=<folder>

Exit code 0: no issues. 1: issues, all listed in the JSON report (`output`); `data.exclude=<list>` makes training and evaluation
leave out the affected files. 2: the check failed. `conf/check_data.yaml` documents the settings.
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

# The package is not installed; it is a neighbour of this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line.arguments import prepare_arguments

if TYPE_CHECKING:
    from src.data.integrity.check import CheckableDataset, SplitReport
    from src.data.integrity.issues import DatasetIssue


def check(cfg: DictConfig, console: Console) -> int:
    """Check the configured splits; write the report and the exclusion list, and print the table.

    Returns:
        The number of issues.

    Raises:
        FileExistsError: if a report exists and ``overwrite`` is false.
        ValueError: if no dataset is chosen, or a split is unknown.
    """
    if "data" not in cfg:
        raise ValueError("no dataset is chosen; expected data=<name>, the name of a file in conf/data")
    # After the checks: these imports take seconds.
    from src.data.integrity.check import SplitReport, check_splits
    from src.data.integrity.issues import DatasetIssue

    output, exclusion = Path(cfg.output), Path(cfg.exclusion)
    existing = [str(path) for path in (output, exclusion) if path.exists()]
    if existing and not cfg.overwrite:
        raise FileExistsError(f"{' and '.join(existing)} exist already: name other files or set overwrite=true")
    collected: dict[str, list[DatasetIssue]] = {}
    datasets: dict[str, CheckableDataset] = {}
    for name in distinct_splits(cfg):
        collected[name] = []
        try:
            datasets[name] = open_split(cfg.data[name.split("/")[0]], collected[name])
        except (OSError, ValueError) as error:
            collected[name].append(DatasetIssue("layout", Path(cfg.data.root), str(error)))
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("frames", total=None)
        reports = check_splits(datasets, cfg.workers, lambda done, total: progress.update(task, completed=done, total=total))
    for name, issues in collected.items():
        reports.setdefault(name, SplitReport()).issues[:0] = issues
    write_reports(reports, cfg, output, exclusion)
    show(reports, cfg, console)
    console.print(f"written: {output} and {exclusion}", highlight=False, soft_wrap=True)
    return sum(len(report.issues) for report in reports.values())


def distinct_splits(cfg: DictConfig) -> list[str]:
    """Return the names of the splits to check; splits with the same settings share one name, as in ``val/test``."""
    names: dict[str, list[str]] = {}
    for name in cfg.splits:
        if name not in ("train", "val", "test"):
            raise ValueError(f"splits has {name!r}; expected train, val or test")
        node = cfg.data[name]
        arguments = {key: node[key] for key in node if not key.startswith("_")}
        bound = inspect.signature(get_object(node["_target_"])).bind_partial(**arguments)
        # A default of one split may be an explicit argument of another.
        bound.apply_defaults()
        names.setdefault(f"{node['_target_']} {bound.arguments}", []).append(name)
    return ["/".join(group) for group in names.values()]


def open_split(node: DictConfig, issues: list[DatasetIssue]) -> CheckableDataset:
    """Open a dataset; its issues are appended to ``issues`` if its class can collect them, otherwise raised."""
    if "issues" in inspect.signature(get_object(node["_target_"])).parameters:
        # Not as an argument of instantiate, which would pass a copy of the list.
        return instantiate(node, _partial_=True)(issues=issues)
    return instantiate(node)


def write_reports(reports: dict[str, SplitReport], cfg: DictConfig, output: Path, exclusion: Path) -> None:
    from src.data.integrity.check import build_exclusion
    from src.data.shards.path import dataset_root
    from src.files.atomic_write import write_text

    root = dataset_root(cfg.data.root)
    content = {
        "data": cfg.data.name,
        "root": str(root),
        "issues": sum(len(report.issues) for report in reports.values()),
        "splits": {name: report.as_json(root) for name, report in reports.items()},
    }
    write_text(output, json.dumps(content, indent=1) + "\n")
    build_exclusion((issue for report in reports.values() for issue in report.issues), root).write(exclusion)


def show(reports: dict[str, SplitReport], cfg: DictConfig, console: Console) -> None:
    table = Table(title=f"{cfg.data.name} at {cfg.data.root}")
    for column in ("split", "clips", "published", "frames", "labelled", "void only", "clip length", "sizes (HxW)", "issues"):
        table.add_column(column, justify="left" if column == "split" else "right")
    published = cfg.data.get("published_clips") or {}
    for name, report in reports.items():
        expected = published.get(cfg.data[name.split("/")[0]].get("split"), "")
        sizes = ", ".join(size for size, _ in report.sizes.most_common(2)) + (", ..." if len(report.sizes) > 2 else "")
        length = f"{report.shortest}..{report.longest}"
        counts = (report.clips, expected, report.frames, report.labelled, report.void_only, length, sizes, len(report.issues))
        table.add_row(name, *map(str, counts))
    console.print(table)
    for name, report in reports.items():
        for kind in dict.fromkeys(issue.kind for issue in report.issues):
            found = [issue for issue in report.issues if issue.kind == kind]
            console.print(f"{name}, {kind}: {len(found)}", style="bold red", highlight=False)
            for issue in found[:3]:
                console.print(f"  {issue.message}", highlight=False, markup=False, soft_wrap=True)


@hydra.main(version_base="1.3", config_path="../conf", config_name="check_data")
def main(cfg: DictConfig) -> None:
    """Check the dataset and exit with the exit code."""
    # A log file has no width, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        issues = check(cfg, console)
    except (OSError, ValueError) as error:
        console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; nothing is written", style="red")
        sys.exit(130)
    sys.exit(1 if issues else 0)


if __name__ == "__main__":
    prepare_arguments()
    main()
