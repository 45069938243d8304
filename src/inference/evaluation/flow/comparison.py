"""Comparison of flow methods on the same data, with progress bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from rich.console import Console

from src.data.clips import ClipDataset
from src.files.tables import Row
from src.inference.evaluation.flow.endpoint_errors import endpoint_errors, flow_pairs
from src.inference.evaluation.flow.label_propagation import label_pairs, propagate_labels
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.flow.table import error_row, offset_rows
from src.inference.evaluation.progress import ProgressCallback, advance, progress_bars

FlowTask = Literal["label_propagation", "endpoint_error"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class FlowComparison:
    """Task and data of a comparison.

    Attributes:
        task: ``label_propagation`` or ``endpoint_error``.
        dataset: clips with labels, or with ground-truth flow.
        offsets: offsets of label propagation, frames.
        target_stride: see :func:`src.inference.evaluation.flow.label_propagation.label_pairs`.

    Raises:
        ValueError: if the task is neither, or the data has no pair of frames for it.
    """

    task: FlowTask
    dataset: ClipDataset
    offsets: Sequence[int]
    target_stride: int = 1

    def __post_init__(self) -> None:
        if self.task not in get_args(FlowTask):
            raise ValueError(f"unknown task {self.task!r}; expected one of {', '.join(get_args(FlowTask))}")
        if self.task == "label_propagation":
            label_pairs(self.dataset, self.offsets, self.target_stride)
        else:
            flow_pairs(self.dataset)

    def rows(self, methods: Mapping[str, FlowMethod], costs: Mapping[str, Row], console: Console | None = None) -> list[Row]:
        """Score the methods and build their rows.

        Args:
            methods: methods to score, by name.
            costs: costs by name; methods with a cost that are not scored come last.
            console: console of the progress bars.
        """
        names = [*methods, *(name for name in costs if name not in methods)]
        if self.task == "endpoint_error":
            errors = _of_all(methods, lambda one, bar: endpoint_errors(one, self.dataset, bar), console)
            return [error_row(name, errors.get(name), costs[name]) for name in names]
        scores = _of_all(
            methods, lambda one, bar: propagate_labels(one, self.dataset, self.offsets, self.target_stride, bar), console
        )
        classes = self.dataset.classes
        return [row for name in names for row in offset_rows(name, self.offsets, scores.get(name), costs[name], classes)]


def _of_all(
    methods: Mapping[str, FlowMethod], score: Callable[[FlowMethod, ProgressCallback], Result], console: Console | None
) -> dict[str, Result]:
    results: dict[str, Result] = {}
    with progress_bars(console) as progress:
        overall = progress.add_task("all flows", total=len(methods))
        for name, method in methods.items():
            task = progress.add_task(name, total=None)
            results[name] = score(method, advance(progress, task))
            progress.remove_task(task)
            progress.advance(overall)
    return results
