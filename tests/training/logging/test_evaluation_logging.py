"""Logged names of flow evaluations; those of masks are tested in tests/commands/test_eval.py."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from src.training.logging.evaluation_logging import log_flows


class CollectingLogger(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, Any] = {}

    def log_metrics(self, *arguments: Any, **options: Any) -> None:
        self.figures |= arguments[0]


def test_flows_are_logged_by_method_and_offset() -> None:
    rows = [
        {"method": "dis", "offset": 3, "miou": 0.5, "wiou": None, "ms": 2.0, "gflops": None},
        {"method": "copy", "epe": 1.5, "outlier_rate": 0.25, "ms": None},
    ]
    logger = CollectingLogger()
    log_flows(logger, rows, [])
    assert logger.figures == {
        "eval/flow_miou_dis_offset_3": 0.5,
        "eval/flow_ms_dis_offset_3": 2.0,
        "eval/flow_epe_copy": 1.5,
        "eval/flow_outlier_rate_copy": 0.25,
    }


def test_a_csv_logger_writes_the_figures(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    log_flows(logger, [{"method": "dis", "offset": 3, "miou": 0.5}], [])
    (file,) = tmp_path.rglob("metrics.csv")
    assert "eval/flow_miou_dis_offset_3" in file.read_text()
