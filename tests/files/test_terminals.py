import os
import pty

import pytest

from src.files.terminals import drop_output


def test_output_to_a_terminal_that_hung_up_is_dropped() -> None:
    master, terminal = pty.openpty()
    os.close(master)
    try:
        with pytest.raises(OSError):
            os.write(terminal, b"line")
        drop_output([terminal])
        assert os.write(terminal, b"line") == 4
    finally:
        os.close(terminal)
