"""The fault table of docs/reliability.md: most of the tests that it lists."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from src.weights.model_folder import load_model
from tests.fake_wandb_server import fake_wandb_server
from tests.forked_training import TrainingProcesses, training_processes
from tests.tiny_run import overrides
from tests.wandb_runs import logged_bytes

STEPS = 8
SETTINGS = [
    "stage=segmentor", f"trainer.max_steps={STEPS}", "trainer.val_check_interval=3", "trainer.log_every_n_steps=1",
    "data.val_samples=1", "callbacks.pictures=null", "callbacks.checkpoint.every_n_steps=2",
    "logger.csv.flush_logs_every_n_steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingProcesses]:
    with training_processes(tmp_path_factory.mktemp("printed")) as started:
        yield started


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def unbroken(processes: TrainingProcesses, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of an uninterrupted run."""
    runs = tmp_path_factory.mktemp("unbroken")
    run = processes.start(*overrides(scenes, runs), *SETTINGS)
    assert run.wait() == 0, run.printed
    return run_dir(runs)


@pytest.fixture
def arguments(unbroken: Path, scenes: Path, tmp_path: Path) -> list[str]:
    """Arguments of the same run in another folder, after its scenes exist."""
    return [*overrides(scenes, tmp_path), *SETTINGS]


def run_dir(runs: Path) -> Path:
    return runs / "default" / "segmentor"


def state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the model folder and the optimizer moments of the last checkpoint."""
    checkpoint = torch.load(folder / "checkpoints" / f"step_{STEPS:07d}.ckpt", weights_only=True)
    moments = {
        f"{number}.{name}": value
        for number, values in checkpoint["optimizer_states"][0]["state"].items()
        for name, value in values.items()
    }
    return load_model(folder / "model")[0].state_dict(), moments | {
        "lr": torch.tensor(checkpoint["lr_schedulers"][0]["_last_lr"])
    }


def logged(folder: Path) -> dict[tuple[int, str], float]:
    """Return the last value of every metric by step, except times and memory, over all parts of a run."""
    values = {}
    measured = ("second", "memory")
    for path in sorted(folder.glob("csv/version_*/metrics.csv")):
        for row in csv.DictReader(path.open()):
            step = int(row["step"])
            values |= {
                (step, name): float(text)
                for name, text in row.items()
                if text and "/" in name and not any(word in name for word in measured)
            }
    return values


def check_equal(folder: Path, unbroken: Path, unlogged: Collection[int] = ()) -> None:
    """Compare two runs bit for bit. A step is ``unlogged`` if the process died between its checkpoint and its log row."""
    for found, expected in zip(state(folder), state(unbroken), strict=True):
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    metrics = logged(folder)
    # Loggers count from 0.
    missing = {key: value for key, value in logged(unbroken).items() if key[0] + 1 in unlogged and key not in metrics}
    assert metrics | missing == logged(unbroken)


def step_line(step: int) -> str:
    return f"step {step} of {STEPS}: loss"


def test_run_killed_three_times_ends_like_an_uninterrupted_run(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    rng, reached, resumed_at = np.random.default_rng(), 0, []
    kills = sorted(int(step) for step in rng.choice(np.arange(1, STEPS), 3, replace=False))
    for kill in kills:
        run = processes.start(*arguments, "resume=true", "num_workers=1")
        run.wait_for(step_line(kill))
        run.signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        resumed_at += [int(step) for step in re.findall(r"resuming from .*step_(\d+)\.ckpt", run.printed)]
        assert all(step <= reached for step in resumed_at)
        reached = kill
    run = processes.start(*arguments, "resume=true")
    assert run.wait() == 0, f"killed after steps {kills}: {run.printed}"
    resumed_at += [int(step) for step in re.findall(r"resuming from .*step_(\d+)\.ckpt", run.printed)]
    assert resumed_at, f"killed after steps {kills}, and there never was a checkpoint"
    check_equal(run_dir(tmp_path), unbroken, unlogged=resumed_at)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_sigterm_saves_the_step_and_exits_with_75(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = processes.start(*arguments, "num_workers=1")
    run.wait_for(step_line(1))
    # A scheduler and a terminal signal the loader processes, too.
    run.signal(number, whole_group=True)
    assert run.wait() == 75, run.printed
    (saved,) = re.findall(r"stopping on a signal: step (\d+) is saved as \S+\.ckpt", run.printed)
    assert 1 <= int(saved) < STEPS and "resume=true continues" in run.printed and "Traceback" not in run.printed
    run = processes.start(*arguments, "resume=true")
    assert run.wait() == 0 and f"step_{int(saved):07d}.ckpt" in run.printed
    check_equal(run_dir(tmp_path), unbroken)


def test_killed_replacement_of_a_run_is_undone_by_the_next_start(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    shutil.copytree(unbroken, run_dir(tmp_path))
    run = processes.start(*arguments, "overwrite=true", "callbacks.checkpoint.every_n_steps=100", "seed=1")
    run.wait_for(step_line(1))
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert f"the earlier run is in {run_dir(tmp_path) / 'earlier_run'} until the first checkpoint" in run.printed
    assert not (run_dir(tmp_path) / "model").exists()
    again = processes.start(*arguments)
    assert again.wait() == 1 and "is restored" in again.printed and "already contains a run" in again.printed
    check_equal(run_dir(tmp_path), unbroken)


def test_other_settings_are_refused_and_leave_no_trace(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    shutil.copytree(unbroken, run_dir(tmp_path))
    command = (run_dir(tmp_path) / ".hydra" / "overrides.yaml").read_bytes()
    run = processes.start(*arguments, "resume=true", "batch_size=1", "stage.optim.lr=0.5")
    assert run.wait() == 1
    assert "batch_size: 2 -> 1" in run.printed and "stage.optim.lr: 0.0001 -> 0.5" in run.printed
    check_equal(run_dir(tmp_path), unbroken)
    assert (run_dir(tmp_path) / ".hydra" / "overrides.yaml").read_bytes() == command


def test_truncated_checkpoint_is_skipped(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    run = processes.start(*arguments)
    run.wait_for(step_line(5))
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    older, newest = sorted((run_dir(tmp_path) / "checkpoints").glob("step_*.ckpt"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    run = processes.start(*arguments, "resume=true")
    assert run.wait() == 0
    assert f"{newest} is damaged (" in run.printed and f"resuming from {older}" in run.printed
    check_equal(run_dir(tmp_path), unbroken, unlogged=[4])


def test_file_size_limit_ends_the_run_and_keeps_the_checkpoints(
    processes: TrainingProcesses, arguments: list[str], unbroken: Path, tmp_path: Path
) -> None:
    (first, *_) = sorted((unbroken / "checkpoints").glob("step_*.ckpt"))
    run = processes.start(*arguments, "trainer.max_steps=2")
    assert run.wait() == 0, run.printed
    (kept,) = (run_dir(tmp_path) / "checkpoints").glob("step_*.ckpt")
    run = processes.start(*arguments, "resume=force", file_size=first.stat().st_size // 2)
    assert run.wait() == 1
    assert "the checkpoint could not be written (File too large; " in run.printed and "MB free" in run.printed
    assert [path.name for path in (run_dir(tmp_path) / "checkpoints").glob("*step_*")] == [kept.name]


@pytest.fixture
def small_disk(unbroken: Path, tmp_path: Path) -> Iterator[Path]:
    """File system in memory with room for one and a half checkpoints; mounting needs root."""
    (checkpoint, *_) = (unbroken / "checkpoints").glob("step_*.ckpt")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={checkpoint.stat().st_size * 3 // 2}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_ends_the_run_and_keeps_the_checkpoints(
    processes: TrainingProcesses, arguments: list[str], small_disk: Path
) -> None:
    run = processes.start(*arguments, f"paths.runs={small_disk}")
    assert run.wait() == 1
    assert "the checkpoint could not be written (No space left on device; " in run.printed, run.printed
    (kept,) = (run_dir(small_disk) / "checkpoints").glob("*step_*")
    assert kept.name == "step_0000002.ckpt" and torch.load(kept, weights_only=True)["global_step"] == 2


def test_a_second_run_in_the_folder_is_refused(processes: TrainingProcesses, arguments: list[str], tmp_path: Path) -> None:
    first = processes.start(*arguments)
    first.wait_for(step_line(1))
    first.signal(signal.SIGSTOP)
    second = processes.start(*arguments, "resume=true")
    assert second.wait() == 1
    assert f"is in use by process {first.pid} on {socket.gethostname()}" in second.printed
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    third = processes.start(*arguments, "resume=true", "trainer.max_steps=1")
    third.wait_for(f"was left by process {first.pid} on")


def test_nan_loss_is_saved_and_replayed(processes: TrainingProcesses, arguments: list[str], tmp_path: Path) -> None:
    # After one step of this length nothing is a number any more.
    diverging = [*arguments, "stage.optim.lr=1e30"]
    run = processes.start(*diverging)
    assert run.wait() == 1
    said = re.search(r"\[ERROR\] - (step \d: .*)", run.printed)
    assert said is not None and re.search(r" on \S+/\d+->\d+, \S+/\d+->\d+$", said[1])
    (folder,) = (run_dir(tmp_path) / "broken").iterdir()
    assert f"the same command with replay={folder}" in run.printed
    again = processes.start(*diverging, f"replay={folder}")
    assert again.wait() == 0, again.printed
    assert f"saved because: {said[1]}" in again.printed and "is the first whose output is not finite" in again.printed


@pytest.fixture
def own_scenes(unbroken: Path, scenes: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to be damaged."""
    shutil.copytree(scenes, tmp_path / "data")
    return tmp_path / "data" / "moving_scenes"


def test_a_damaged_image_follows_the_policy(
    processes: TrainingProcesses, arguments: list[str], own_scenes: Path, tmp_path: Path
) -> None:
    for path in own_scenes.glob("data/train_*/origin/*[36].jpg"):
        path.write_bytes(path.read_bytes()[:-50])
    there = [*arguments, f"paths.data={own_scenes.parent}"]
    run = processes.start(*there)
    assert run.wait() == 1 and re.search(r"\[ERROR\] - \S+[36]\.jpg cannot be decoded", run.printed), run.printed
    run = processes.start(*there, "overwrite=true", "data.on_corrupt=skip", "num_workers=1")
    assert run.wait() == 0, run.printed
    rows = list(csv.DictReader((run_dir(tmp_path) / "skipped_samples.csv").open()))
    assert len(rows) > 1 and all(int(row["sample"]) // 2 + 1 == int(row["step"]) for row in rows)
    assert all(f"sample {row['sample']} is replaced: {row['message']}" in run.printed for row in rows)
    run = processes.start(*there, "overwrite=true", "data.on_corrupt=skip", "data.max_skipped=1")
    assert run.wait() == 1 and "expected at most data.max_skipped=1" in run.printed


def test_unreadable_list_is_an_error(processes: TrainingProcesses, arguments: list[str], own_scenes: Path) -> None:
    (own_scenes / "train.txt").write_bytes(b"\xff\x00train_0000")
    run = processes.start(*arguments, f"paths.data={own_scenes.parent}")
    assert run.wait() == 1 and f"{own_scenes / 'train.txt'} cannot be read (" in run.printed, run.printed


@pytest.fixture
def with_wandb(arguments: list[str]) -> list[str]:
    """Arguments of a shorter run, since W&B's process is slow."""
    return [*arguments, "logger=default", "logger.wandb.finish_timeout=2", "trainer.max_steps=3"]


def wandb_record(runs: Path) -> bytes:
    (folder,) = (path for path in (run_dir(runs) / "wandb").iterdir() if path.is_dir() and "run-" in path.name)
    return logged_bytes(folder)


@pytest.mark.parametrize("server", ["refuses", "hangs"])
def test_unresponsive_wandb_server_gives_an_offline_run(
    processes: TrainingProcesses, with_wandb: list[str], tmp_path: Path, server: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if server == "refuses":
            listening.close()
        run = processes.start(*with_wandb, WANDB_BASE_URL=url, WANDB_API_KEY="k" * 40)
        assert run.wait() == 0, run.printed
    assert f"W&B is offline ({url} cannot be reached" in run.printed and "wandb sync" in run.printed
    assert b"train/loss_mask" in wandb_record(tmp_path)


def test_dead_wandb_server_does_not_stop_training(processes: TrainingProcesses, with_wandb: list[str], tmp_path: Path) -> None:
    with fake_wandb_server() as server:
        run = processes.start(*with_wandb, WANDB_BASE_URL=server.url, WANDB_API_KEY="k" * 40)
        run.wait_for("step 1 of 3: loss")
        assert "UpsertBucket" in server.requests
        server.die()
        assert run.wait() == 0, run.printed
    assert "step 3 of 3: loss" in run.printed
    record = wandb_record(tmp_path)
    assert record.count(b"train/loss_mask") >= 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_lost_process_ends_the_others(
    processes: TrainingProcesses, arguments: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    """A killed process ends the others at once, a hanging one after the timeout; the run resumes from its checkpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    several = [
        *arguments, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy.timeout_seconds=8",
        "data.val_samples=2", "batch_size=1", "trainer.max_steps=1000", "trainer.val_check_interval=500",
    ]  # fmt: skip
    # What torchrun sets, without its own watch over the processes.
    group = {
        "WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "0",
    }
    first, second = (processes.start(*several, **group, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2))
    first.wait_for("step 3 of")
    second.signal(number)
    start = time.monotonic()
    assert first.wait() == 1
    assert time.monotonic() - start < 60
    assert "[ERROR] - process 0 of 2 lost another process, which ended or did not respond within" in first.printed
    assert bool(re.search("timed? ?out", first.printed.rsplit(" (", 1)[1], re.IGNORECASE)) == (number == signal.SIGSTOP)
    assert (run_dir(tmp_path) / "checkpoints" / "step_0000002.ckpt").is_file()
    if number == signal.SIGSTOP:
        second.signal(signal.SIGKILL)
    second.wait()
