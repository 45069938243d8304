"""Comparison of networks for video on this machine: the work of ``python -m src.benchmark what=peers``."""

import logging
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from hydra import compose
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from src.commands.benchmark_subject import chosen_size, machine
from src.commands.measurements.peer_networks import EXPERIMENTS, NETWORKS, Setting
from src.files.tables import Row
from src.measure import report
from src.measure.comparisons.peers import Call, peer_row, peers_table
from src.measure.latency import time_in_turn
from src.measure.machine import autocast_named, device_named
from src.measure.memory import peak_memory_mib
from src.measure.sample_clips import moving_clip
from src.ops.device import set_threads
from src.structures import Size

log = logging.getLogger(__name__)

_FRAME: Size = (480, 853)
_NUM_FRAMES = 6


def measure_peers(cfg: DictConfig, console: Console) -> list[Row]:
    """Measure networks with random weights for VSPW's classes: per frame, and carried where they can be.

    All frames are timed in turn in this process; the peak memory is that of a process of its own for each network.

    Returns:
        A row for each network and method.
    """
    device, names, size = device_named(cfg.device), list(cfg.peers.networks), chosen_size(cfg) or _FRAME
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        frames = moving_clip(Path(folder), size, _NUM_FRAMES)
    configs = {
        name: compose("benchmark", [f"experiment={name}", f"seed={cfg.seed}"])
        for key, name in EXPERIMENTS.items()
        if key in names
    }
    setting = Setting([frame.to(device) for frame in frames], configs, autocast_named(cfg.autocast))
    peaks: dict[str, float] = {}
    for name in track(names, "memory", console=console, transient=True):
        log.info("%s: peak memory", name)
        # A process of its own: this one would count the memory of the other networks too.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            arguments = (name, frames, str(device), configs, setting.autocast, cfg.threads, cfg.seed)
            peaks |= pool.submit(_peaks, *arguments).result()
    log.info("times of %s", ", ".join(names))
    torch.manual_seed(cfg.seed)
    peers = [peer for name in names for peer in NETWORKS[name](setting)]
    calls = {call: call for peer in peers for call in peer.calls}
    ms = {call: timing.median_ms for call, timing in time_in_turn(calls, 1, cfg.peers.repeats).items()}
    conditions = {"input_size": f"{size[0]}x{size[1]}", **machine(device, cfg.autocast)}
    rows = [{**peer_row(peer, ms, peaks[peer.title], cfg.key_interval), **conditions} for peer in peers]
    heading = f"networks with random weights, 124 classes, {conditions['input_size']}, batch 1; {report.conditions(rows[0])}"
    report.print_table(console, heading, peers_table(rows))
    return rows


def _peaks(
    name: str,
    frames: list[torch.Tensor],
    device: str,
    configs: dict[str, DictConfig],
    autocast: torch.dtype | None,
    threads: int | None,
    seed: int,
) -> dict[str, float]:
    """Return the peak memory of each row of a network, MiB."""
    set_threads(threads)
    torch.manual_seed(seed)
    setting = Setting([frame.to(device) for frame in frames], configs, autocast)
    peers = NETWORKS[name](setting)
    peaks: dict[Call, float] = {}
    for call in {call: call for peer in peers for call in peer.calls}:
        # The first call makes what is kept between frames, and is no part of a frame.
        call()
        peaks[call] = peak_memory_mib(call, device)
    return {peer.title: max(peaks[call] for call in peer.calls) for peer in peers}
