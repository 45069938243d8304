"""Law of the speed report: every measured figure is shown, and nothing that was not measured."""

from pathlib import Path

from rich.console import Console

from src.measure.speed_report import show

SPREAD = {"median": 12.5, "p10": 11.25, "p90": 14.0}
CONDITIONS = {
    "experiment": "x", "checkpoint": None, "input_size": "4x6", "device": "cpu", "threads": 1, "precision": "p", "torch": "2",
    "gmacs_per_s": 98.7,
}  # fmt: skip
NOTHING = {"frames_ms": {}, "clips_ms": {}, "ratios": {"nonkey_vs_reference": None}}


def printed(row: dict[str, object], picture: Path | None = None) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        show(CONDITIONS | row, console, picture)
    return capture.get()


def test_every_measurement_is_shown(tmp_path: Path) -> None:
    equal = {"pixels": 24, "different": 3, "near_ties": 2, "unexcused": 1, "score_deviation": 2e-6, "logit_deviation": 0.0}
    row = {
        "frames_ms": {"nonkey": SPREAD}, "peak_memory_mib": {"nonkey": 345.0}, "clips_ms": {"5": SPREAD | {"median": 67.5}},
        "ratios": {"nonkey_vs_reference": 3.25, "clip_k5_vs_per_frame": None}, "equal": equal,
        "parts": [{"name": "key: backbone", "ms": 10.0, "roofline_ms": 4.0, "gmacs": 0.5}],
    }  # fmt: skip
    text = printed(row, tmp_path / "parts.png")
    for shown in ("x at 4x6", "98.7 GMAC/s", "our non-key frame", "12.5", "345", "key interval 5", "67.5", "3.25", "2.50"):
        assert shown in text, shown
    assert "3 of 24 pixels differ, 2 of them" in text and "clip k5" not in text
    assert (tmp_path / "parts.png").stat().st_size > 1000


def test_nothing_measured_is_an_empty_report(tmp_path: Path) -> None:
    assert printed(NOTHING, tmp_path / "parts.png").strip() == "" and not (tmp_path / "parts.png").exists()
