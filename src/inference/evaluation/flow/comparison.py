"""Comparison of flow methods on the same data, with progress bars."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich.console import Console

from src.data.clips import ClipDataset
from src.files.tables import Row
from src.inference.evaluation.flow.endpoint_errors import endpoint_errors, flow_pairs
from src.inference.evaluation.flow.label_propagation import label_pairs, propagate_labels
from src.inference.evaluation.flow.method import FlowMethod
from src.inference.evaluation.flow.table import error_row, offset_rows
from src.inference.evaluation.progress import ProgressBars, ProgressCallback, advance

FlowTask = Literal["label_propagation", "endpoint_error"]


@dataclass(frozen=True)
class FlowComparison:
    """Task and data of a comparison.

    Attributes:
        task: ``label_propagation`` or ``endpoint_error``.
        dataset: clips with labels, or with ground-truth flow.
        offsets, target_stride: of label propagation, see :func:`src.inference.evaluation.flow.label_propagation.label_pairs`.
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

    def rows(
        self, methods: Mapping[str, FlowMethod], costs: Mapping[str, Row], console: Console | None = None
    ) -> Iterator[list[Row]]:
        """Score the methods and yield the rows of each when it is complete.

        Args:
            methods: methods to score, by name.
            costs: costs by name; methods with a cost that are not scored come last.
            console: console of the progress bars.
        """
        names = [*methods, *(name for name in costs if name not in methods)]
        with ProgressBars(console) as progress:
            overall = progress.add_task("all flows", total=len(names), unit="flows")
            for name in names:
                task = progress.add_task(name, total=None)
                rows = self._method_rows(name, methods.get(name), costs[name], advance(progress, task))
                progress.remove_task(task)
                progress.advance(overall)
                yield rows

    def _method_rows(self, name: str, method: FlowMethod | None, cost: Row, progress: ProgressCallback) -> list[Row]:
        if self.task == "endpoint_error":
            errors = None if method is None else endpoint_errors(method, self.dataset, progress)
            return [error_row(name, errors, cost)]
        scores = None
        if method is not None:
            scores = propagate_labels(method, self.dataset, self.offsets, self.target_stride, progress)
        return offset_rows(name, self.offsets, scores, cost, self.dataset.classes)
