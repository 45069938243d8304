import signal
from pathlib import Path

import pytest

from src.data.integrity.process_map import map_files


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_errors_through(workers):
    assert list(map_files(Path, (f"{n}/a" for n in range(40)), workers)) == [Path(f"{n}/a") for n in range(40)]
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_files(int, ["1", "x"], workers))


def test_workers_ignore_ctrl_c():
    assert list(map_files(signal.getsignal, [signal.SIGINT], 1)) == [signal.SIG_IGN]


def test_a_negative_number_of_processes_is_refused():
    with pytest.raises(ValueError, match="workers=-1"):
        list(map_files(int, ["1"], -1))
