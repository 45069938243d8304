"""``what=peers`` writes a row for each network and method, with times and memory of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from src.commands.benchmark import benchmark
from tests.tiny_run import ROOT


@pytest.mark.slow  # a process for the memory of each network
def test_every_chosen_network_has_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "peers.json"
    chosen = ["what=peers", "peers.networks=[mrcfa_b1,segformer_b1]", "peers.repeats=1", "size=[64,96]", "key_interval=3"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        rows: list[dict[str, Any]] = benchmark(  # type: ignore[assignment]
            compose("benchmark", [*chosen, "device=cpu", "threads=1", f"output={output}"])
        )
    assert json.loads(output.read_text()) == rows
    titles = [row["title"] for row in rows]
    assert titles == [
        "MRCFA B1",
        "SegFormer B1, per frame",
        *(f"SegFormer B1 carried by DIS, {m}" for m in ("online", "offline")),
    ]
    for row in rows:
        assert row["peak_memory_mib"] > 100 and row["ms"]["key"] > 0 and row["input_size"] == "64x96" and row["threads"] == 1
    carried = rows[2]["ms"]
    assert carried["mean"] == pytest.approx((carried["key"] + 2 * carried["nonkey"]) / 3)
    assert all(title in capsys.readouterr().out for title in titles[:1])
