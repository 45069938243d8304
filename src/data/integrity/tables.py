"""Tables of a checked dataset, on a terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.data.integrity.check import VOID, SplitReport


def print_tables(reports: Mapping[str, SplitReport], title: str, published: Mapping[str, object], console: Console) -> None:
    """Print the tables of splits and classes, then the issues and suspicions of every split.

    Args:
        reports: results by split.
        title: title of the first table.
        published: number of clips in the published split, by split; empty where it is unknown.
        console: where to print.
    """
    table = Table(title=title)
    columns = (
        "split", "clips", "published", "frames", "labelled", "void only", "clip length", "sizes (HxW)", "issues", "suspicions",
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, report in reports.items():
        sizes = ", ".join(size for size, _ in report.sizes.most_common(2)) + (", ..." if len(report.sizes) > 2 else "")
        length = f"{report.shortest}..{report.longest}"
        counts = (report.clips, published[name], report.frames, report.labelled, report.void_only, length, sizes)
        table.add_row(name, *map(str, (*counts, len(report.issues), len(report.suspicions))))
    console.print(table)
    _print_classes(reports, console)
    for name, report in reports.items():
        for kind in dict.fromkeys(issue.kind for issue in report.issues):
            found = [issue for issue in report.issues if issue.kind == kind]
            console.print(f"{name}, {kind}: {len(found)}", style="bold red", highlight=False)
            for issue in found[:3]:
                console.print(f"  {issue.message}", highlight=False, markup=False, soft_wrap=True)
        for suspicion in report.suspicions:
            line = f"{name}, suspicion, {suspicion.kind}: {suspicion.message}"
            console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _print_classes(reports: Mapping[str, SplitReport], console: Console) -> None:
    """Print the share of the labelled pixels and the number of frames of every class, and the classes that never occur."""
    labelled = {name: report for name, report in reports.items() if report.pixels}
    if not labelled:
        return
    table = Table(title="classes: share of the labelled pixels, frames in which they occur")
    table.add_column("class", no_wrap=True)
    for name in labelled:
        table.add_column(f"{name}, %", justify="right")
        table.add_column("frames", justify="right")
    for one in (*next(iter(labelled.values())).classes, VOID):
        cells = [(f"{100 * r.share(one):.3f}", str(r.frame_counts[one])) for r in labelled.values()]
        table.add_row(escape(one), *(cell for pair in cells for cell in pair))
    console.print(table)
    for name, report in labelled.items():
        if absent := report.absent_classes:
            text = f"{name}: {len(absent)} of {len(report.classes)} classes never occur: {', '.join(absent)}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
