"""Check every frame and label of a dataset: python scripts/check_data.py data=vspw data.root=<folder>

Exit code 0: no issues. 1: issues, all listed in the JSON report (`output`); `data.exclude=<list>` makes training and evaluation
leave out the affected files. 2: the check failed. Suspicions (shifted class numbers, leaks between splits ...) are printed and
reported, but do not change the exit code. A picture beside the report shows labelled frames. `conf/check_data.yaml` documents the
settings.
"""

from __future__ import annotations

import inspect
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from rich.console import Console

# The package is not installed; it is a neighbour of this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command_line.command import command
from src.command_line.signals import interrupting_on_signals

if TYPE_CHECKING:
    from torch import Tensor

    from src.data.integrity.check import CheckableDataset, SplitReport
    from src.data.integrity.issues import DatasetIssue

SHEET_FRAMES = 8


def check(cfg: DictConfig, console: Console) -> int:
    """Check the configured splits; write the report and the exclusion list, and print the table.

    Returns:
        The number of issues.

    Raises:
        FileExistsError: if a report of another folder exists and ``overwrite`` is false, or a file is no report of this script.
        OSError: if a file cannot be written where it is.
        ValueError: if a split is unknown, two of the files have one name, or the exclusion list to write is the one to read.
    """
    # After the checks: these imports take seconds.
    from src.data.integrity.check import SplitReport, check_splits
    from src.data.integrity.issues import DatasetIssue
    from src.data.integrity.tables import print_tables
    from src.data.shards.path import dataset_root
    from src.files.atomic_write import write_rgb
    from src.inference.evaluation.progress import ProgressBars, advance

    propose_classes(dataset_root(cfg.data.root), cfg, console)
    output, exclusion = Path(cfg.output), Path(cfg.exclusion)
    sheet = output.with_suffix(".png")
    if cfg.data.get("exclude") is not None and Path(cfg.data.exclude).resolve() == exclusion.resolve():
        raise ValueError(f"exclusion is {exclusion}, the list of data.exclude; expected another file; set exclusion=<file>")
    refuse_existing(output, exclusion, sheet, cfg.overwrite, str(dataset_root(cfg.data.root)))
    collected: dict[str, list[DatasetIssue]] = {}
    datasets: dict[str, CheckableDataset] = {}
    for name in distinct_splits(cfg):
        collected[name] = []
        try:
            datasets[name] = open_split(cfg.data[name.split("/")[0]], collected[name])
        except (OSError, ValueError) as error:
            collected[name].append(DatasetIssue("layout", Path(cfg.data.root), str(error)))
    with ProgressBars(console) as progress:
        reports = check_splits(datasets, cfg.workers, advance(progress, progress.add_task("checked", total=None)))
    for name, issues in collected.items():
        reports.setdefault(name, SplitReport()).issues[:0] = issues
    picture = draw_sheet(datasets)
    write_reports(reports, cfg, output, exclusion, None if picture is None else sheet.name)
    sheet.unlink(missing_ok=True)
    if picture is not None:
        write_rgb(picture, sheet)
    published = cfg.data.get("published_clips") or {}
    expected = {name: published.get(cfg.data[name.split("/")[0]].get("split"), "") for name in reports}
    print_tables(reports, f"{cfg.data.name} at {cfg.data.root}", expected, console)
    written = [output, exclusion, *([] if picture is None else [sheet])]
    console.print(f"written: {', '.join(map(str, written))}", highlight=False, markup=False, soft_wrap=True)
    return sum(len(report.issues) for report in reports.values())


def propose_classes(root: Path, cfg: DictConfig, console: Console) -> None:
    """Print a ``classes.yaml`` for own data without one, and write it if ``write_classes`` is set.

    Raises:
        FileNotFoundError: if the dataset has none and none is written.
        ValueError: if ``write_classes`` is set for a dataset with classes of its own, or the masks give no proposal.
    """
    from src.data.datasets.own.proposal import find_values, proposed_yaml
    from src.files.atomic_write import write_text

    path = root / "classes.yaml"
    if cfg.write_classes and cfg.data.num_classes is not None:
        raise ValueError(f"write_classes=true has no effect: data={cfg.data.name} has classes of its own; leave it out")
    if path.is_file() or cfg.data.num_classes is not None:
        return
    found = find_values(root)
    if found is None:
        raise ValueError(
            f"{root / 'masks'} holds no masks, or more values than classes; expected <video>/*.png with class numbers"
        )
    text = proposed_yaml(found)
    console.print(text, end="", highlight=False, markup=False, soft_wrap=True)
    if not cfg.write_classes:
        raise FileNotFoundError(f"{path} does not exist; expected a file like the one above; write_classes=true writes it")
    write_text(path, text)
    console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def refuse_existing(output: Path, exclusion: Path, sheet: Path, overwrite: bool, root: str) -> None:
    """Refuse equal names, and existing files but those of a check of ``root``, or of any folder with ``overwrite``."""
    from src.files.results.output_names import check_writable
    from src.files.results.result_marker import read_json

    if len({path.resolve() for path in (output, exclusion, sheet)}) < 3:
        raise ValueError(f"output is {output}, exclusion {exclusion} and the picture {sheet}; expected three different files")
    for path in (output, exclusion):
        check_writable(path.parent)
    report = read_json(output)
    own = {output} if {"data", "root", "issues", "splits"} <= set(report) else set()
    own |= {exclusion} if set(read_json(exclusion)) == {"files", "videos", "repeated"} else set()
    own |= {sheet} if own and report.get("sheet") == sheet.name else set()
    existing = [path for path in (output, exclusion, sheet) if path.exists()]
    for path in existing:
        if path not in own:
            raise FileExistsError(f"{path} is no report of check_data; expected no other file of that name; name other files")
    if existing and report.get("root") != root and not overwrite:
        found = f"of {report['root']}" if report else "without its report"
        raise FileExistsError(
            f"{existing[0]} is a result {found}; expected one of {root}: name other files or set overwrite=true"
        )


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


def write_reports(reports: dict[str, SplitReport], cfg: DictConfig, output: Path, exclusion: Path, sheet: str | None) -> None:
    from src.data.integrity.check import build_exclusion
    from src.data.shards.path import dataset_root
    from src.files.atomic_write import write_text

    root = dataset_root(cfg.data.root)
    content = {
        "data": cfg.data.name,
        "root": str(root),
        "sheet": sheet,
        "issues": sum(len(report.issues) for report in reports.values()),
        "suspicions": sum(len(report.suspicions) for report in reports.values()),
        "splits": {name: report.as_json(root) for name, report in reports.items()},
    }
    write_text(output, json.dumps(content, indent=1) + "\n")
    build_exclusion((issue for report in reports.values() for issue in report.issues), root).write(exclusion)


def draw_sheet(datasets: dict[str, CheckableDataset]) -> Tensor | None:
    """Draw labelled frames, spread over the clips of all splits, with their labels; ``None`` without a readable frame."""
    import torch

    from src.files.images.label_png import UNDEFINED
    from src.files.images.readers import read_rgb
    from src.visualization.class_colors import class_palette
    from src.visualization.contact_sheet import SheetFrame, contact_sheet

    drawn: list[SheetFrame] = []
    for number, (split, dataset) in enumerate(datasets.items()):
        every = [(clip.name, *files) for clip in dataset.clips for files in zip(clip.images, clip.labels, strict=True)]
        frames = [one for one in every if one[2] is not None] or every
        wanted = (number + 1) * SHEET_FRAMES // len(datasets) - number * SHEET_FRAMES // len(datasets)
        for index in sorted({(2 * n + 1) * len(frames) // (2 * wanted) for n in range(wanted)} if frames else ()):
            name, image, label = frames[index]
            # Unreadable files are issues, which are reported by name.
            with suppress(OSError, ValueError):
                classes = None
                if label is not None:
                    found = torch.from_numpy(dataset.label_format.to_classes(dataset.label_format.read_raw(label))).long()
                    classes = found.masked_fill(found == UNDEFINED, len(dataset.classes))
                drawn.append(SheetFrame(f"{split}: {name}/{image.name}", read_rgb(image), classes))
    if not drawn:
        return None
    first = next(iter(datasets.values()))
    return contact_sheet(drawn, first.classes, class_palette(first.classes, first.chosen_colors))


@command("check_data", exit_code=2)
def main(cfg: DictConfig) -> None:
    """Check the dataset and exit with the exit code."""
    # A log file has no width, and rich would cut the table at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 140)
    with interrupting_on_signals() as received:
        try:
            issues = check(cfg, console)
        except (OSError, ValueError) as error:
            console.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            sys.exit(2)
        except KeyboardInterrupt:
            console.print("stopped; nothing is written", style="red")
            sys.exit(128 + (received[0] if received else 2))
    sys.exit(1 if issues else 0)


if __name__ == "__main__":
    main()
