"""Test the prediction with damaged videos: python scripts/fuzz_video.py [--copies 200] [--seed 0] [--time 60]

Each copy of a small MP4 or Matroska file has flipped bits, a missing end or runs of zeros, and is predicted in its own process
(Linux and macOS). The process must end in time with exit code 0 or 1 and write either nothing or complete results: an overlay
that decodes, with as many frames as class_share.csv has lines. Exit code 1 if a copy fails.
"""

from __future__ import annotations

import argparse
import csv
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

# The package is not installed; it is in the parent folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.predict import predict
from src.inference.video.decoder import VideoFrames
from src.inference.video.writer import VideoWriter
from src.models.flow import DISFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.model_folder import save_model

ROOT = Path(__file__).resolve().parents[1]
PASSED = ("complete", "complete, error reported", "nothing, error reported")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time", type=float, default=60.0, help="time limit of a copy, seconds")
    options = parser.parse_args()
    console, outcomes, bad = Console(), Counter[str](), 0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        originals = [original.read_bytes() for original in make_originals(place)]
        model = make_model(place)
        for number in track(range(options.copies), "damaged copies", console=console, transient=True):
            rng = random.Random(f"{options.seed}/{number}")
            folder = place / f"copy{number}"
            folder.mkdir()
            damage, data = mutate(rng.choice(originals), rng)
            (folder / "clip.mp4").write_bytes(data)
            outcome = run(folder, config(folder, model), options.time)
            outcomes[outcome] += 1
            if outcome not in PASSED:
                bad += 1
                kept = Path(tempfile.gettempdir()) / f"fuzz_{options.seed}_{number}.mp4"
                kept.write_bytes(data)
                console.print(f"copy {number} ({damage}): {outcome}; kept as {kept}")
    for outcome, count in outcomes.most_common():
        console.print(f"{count:5d}  {outcome}")
    return 1 if bad else 0


def make_originals(place: Path) -> list[Path]:
    """Write the same video with the index at the end, with the index in front, and as a Matroska file."""
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (3, 12, 24), dtype=np.uint8), np.ones((1, 8, 8), np.uint8))
    with VideoWriter(place / "plain.mp4", 25, quality=25) as video:
        for shift in range(24):
            video.write(torch.from_numpy(np.roll(picture, 3 * shift, axis=2)[..., :128].copy()))
    copies = [place / "plain.mp4", place / "front.mp4", place / "plain.mkv"]
    for path in copies[1:]:
        options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        with av.open(str(copies[0])) as source, av.open(str(path), "w", options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    return copies


def make_model(place: Path) -> Path:
    """Save a small network with random weights."""
    segmentor = Mask2FormerSegmentor.from_backbone(
        "tiny", 5, num_queries=6, hidden_dim=32, feedforward_dim=32, encoder_feedforward_dim=32, encoder_layers=1,
        decoder_layers=1, num_heads=4, pretrained_backbone=False,
    )  # fmt: skip
    return save_model(Propagator(segmentor, DISFlow()), place / "model")


def config(folder: Path, model: Path) -> DictConfig:
    paths = [f"input='{folder / 'clip.mp4'}'", f"output='{folder / 'out'}'", f"checkpoint='{model}'"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("predict", [*paths, "labels=true", "device=cpu", "threads=1", "short_side=40", "max_long_side=160"])


def mutate(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Apply one kind of damage or several."""
    kinds = rng.choice((["flips"], ["flips"], ["cut"], ["zeros"], ["flips", "cut"], ["zeros", "flips"], ["zeros", "cut"]))
    damaged = bytearray(data)
    for kind in kinds:
        if kind == "flips":
            for _ in range(rng.choice((1, 4, 16, 64, 256))):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del damaged[rng.randrange(1, len(damaged)) :]
        else:
            start = rng.randrange(len(damaged))
            stop = min(len(damaged), start + rng.randrange(1, max(2, len(damaged) // 4)))
            damaged[start:stop] = bytes(stop - start)
    return "+".join(kinds), bytes(damaged)


def run(folder: Path, cfg: DictConfig, time_limit: float) -> str:
    """Predict a copy in a child process and return the outcome."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(folder, cfg))
    process.start()
    process.join(time_limit)
    if process.is_alive():
        process.kill()
        process.join()
        return f"HANGS: not done after {time_limit:.0f} s"
    if process.exitcode not in (0, 1):
        return f"CRASH: exit code {process.exitcode}; {(folder / 'log').read_text()[-2000:]}"
    return check_outputs(folder, reported=process.exitcode == 1)


def check_outputs(folder: Path, reported: bool) -> str:
    """Return the outcome by the files of a copy."""
    left = sorted(path.name for path in folder.iterdir() if path.name not in ("clip.mp4", "log"))
    if not left:
        return "nothing, error reported" if reported else "NOTHING WRITTEN, without an error"
    found = sorted(os.listdir(folder / "out"))
    if left != ["out"] or found != ["class_share.csv", "finished.json", "labels", "overlay.mp4"]:
        return f"PARTIAL OUTPUT: {left}, {found}"
    with (folder / "out" / "class_share.csv").open(encoding="utf-8") as file:
        rows = len(list(csv.DictReader(file)))
    overlay = VideoFrames(folder / "out" / "overlay.mp4")
    counts = (sum(1 for _ in overlay), rows, len(os.listdir(folder / "out" / "labels")))
    if len(set(counts)) != 1 or not rows or overlay.decode_errors:
        return f"BROKEN OUTPUT: frames, lines, labels {counts}; {overlay.decode_errors}"
    return "complete, error reported" if reported else "complete"


def child(folder: Path, cfg: DictConfig) -> None:
    """Predict the copy as ``python -m src.predict`` does."""
    log = (folder / "log").open("w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    logging.basicConfig(stream=log, level=logging.INFO, force=True)
    try:
        code = predict(cfg).exit_code
    except (OSError, ValueError) as error:
        logging.error("%s", error)
        code = 1
    log.flush()
    sys.exit(code)


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(status)
