"""Laws of break-even tables: means over an interval, delays, and a plain verdict."""

import pytest
from rich.console import Console

from src.measure.comparisons.break_even import ModeCost, accuracy_row, break_even_rows, break_even_table, notes, verdicts

ONLINE = ModeCost(key_ms=100.0, carried_ms=20.0, key_gflops=50.0, carried_gflops=5.0)
OFFLINE = ModeCost(key_ms=100.0, carried_ms=95.0, key_gflops=50.0, carried_gflops=10.0)
COSTS = {"online": ONLINE, "offline": OFFLINE}


def test_rows_average_over_the_interval_and_only_offline_frames_are_late() -> None:
    rows = {(row["mode"], row["key_interval"]): row for row in break_even_rows(COSTS, [1, 5], 10.0, {})}
    assert rows["online", 1]["ms"] == rows["offline", 1]["ms"] == 100.0 and rows["online", 1]["times_as_fast"] == 1
    five = rows["online", 5]
    assert (five["ms"], five["gflops"], five["delay_frames"]) == (36.0, 14.0, 0)
    assert five["fps"] == pytest.approx(1e3 / 36) and five["times_as_fast"] == pytest.approx(100 / 36) and five["pays"]
    late = rows["offline", 5]
    assert (late["ms"], late["delay_frames"], late["delay_s"], late["pays"]) == (96.0, 4, 0.4, False)
    assert rows["offline", 1]["delay_frames"] == 0 and late["kept"] is None


def test_the_verdict_names_the_mode_that_does_not_pay_and_the_interval_that_is_fast_enough() -> None:
    online, offline = verdicts(COSTS, 20.0, 10)
    # (100 + (k - 1) * 20) / k is 60 ms at k = 2 and 46.7 at k = 3.
    assert online.startswith("online: carrying pays") and "20 frames per second are reached from key_interval=3 on" in online
    assert offline.startswith("offline: carrying does not pay on this machine: a carried frame takes 95.0 ms, a key frame 100.0")
    assert "not reached up to key_interval=4" in verdicts({"online": ONLINE}, 25.5, 4)[0]


def test_accuracy_is_kept_of_the_labels_score_else_of_the_pixels() -> None:
    assert accuracy_row(0.9, 0.3, 0.4)["kept"] == pytest.approx(0.75)
    assert accuracy_row(0.9, None, None) == {"agreement": 0.9, "miou": None, "kept": 0.9}
    # No class of the labels is ever found: no ratio exists.
    assert accuracy_row(0.9, 0.0, 0.0)["kept"] == 0.9


def test_the_table_has_a_line_for_each_interval_and_accuracy_only_of_a_clip() -> None:
    def printed(accuracy: dict[tuple[str, int], dict[str, float | None]]) -> str:
        rows = [{"flow": "DISFlow", **row} for row in break_even_rows(COSTS, [1, 5], 10.0, accuracy)]
        console = Console(width=200)
        with console.capture() as capture:
            console.print(break_even_table(rows))
            console.print("\n".join(notes(rows)))
        return capture.get()

    assert "27.8" in printed({}) and "96.0" in printed({}) and "kept" not in printed({}) and "OpenCV" in printed({})
    scored = {(mode, k): accuracy_row(0.9, 0.3, 0.4) for mode in COSTS for k in (1, 5)}
    assert "75.0" in printed(scored) and "mIoU" in printed(scored)
    agreed = {key: accuracy_row(0.9, None, None) for key in scored}
    assert "90.0" in printed(agreed) and "no labels" in printed(agreed)
