import sys

import pytest

from scripts import memory_over_frames


@pytest.mark.parametrize(("network", "options"), [("mask2former", []), ("mask2former", ["--api"]), ("videomt", [])])
def test_a_few_frames_run_with_each_network(
    network: str, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memory_over_frames.py", "--frames", "20", "--every", "10", "--network", network, *options])
    memory_over_frames.main()
    printed = capsys.readouterr().out
    assert "     20 frames" in printed and "from frame 1 to 20: resident" in printed
