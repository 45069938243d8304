"""Laws of the comparison's rows: means over the interval, and every figure reaches the screen."""

import pytest
from rich.console import Console

from src.measure.comparisons.peers import Peer, peer_row, peers_table


def segment() -> None: ...


def carry() -> None: ...


ALONE = Peer("alone", 3.0, lambda: (50.0, None), segment)
CARRIED = Peer("carried", 4.0, lambda: (50.0, 10.0), segment, carry)
MS = {segment: 200.0, carry: 20.0}


def test_a_row_averages_over_the_interval_and_every_frame_alone_is_a_key_frame() -> None:
    assert ALONE.calls == (segment,) and CARRIED.calls == (segment, carry)
    row = peer_row(CARRIED, MS, 700.0, 5)
    assert row["gflops"] == {"key": 50.0, "nonkey": 10.0, "mean": 18.0}
    assert row["ms"] == {"key": 200.0, "nonkey": 20.0, "mean": pytest.approx(56.0)}
    assert peer_row(ALONE, MS, 700.0, 5)["ms"] == {"key": 200.0, "nonkey": None, "mean": 200.0}


def test_the_table_shows_every_row() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(peers_table([peer_row(ALONE, MS, 600.0, 5), peer_row(CARRIED, MS, 700.0, 5)]))
    text = capture.get()
    assert all(word in text for word in ("alone", "carried", "k = 5", "18.0", "56.0", "200.0", "700"))
