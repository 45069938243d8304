"""Measure the mIoU cost of inexact options on CamVid at key interval 1: ``scripts/option_costs.py <model folder> <CamVid>``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.datasets.camvid import CamVid
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.metrics.iou import MeanIoU
from src.ops.masks import semantic_map, semantic_map_at_mask_size, semantic_scores
from src.weights.model_folder import load_model


def main() -> None:
    """Score the labelled frames of CamVid's dense clip with each option; compare label maps with the argmax of all scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("data", type=Path, help="folder of CamVid, which contains index.csv")
    arguments = parser.parse_args()
    dataset = CamVid(arguments.data, "test")
    propagator, _ = load_model(arguments.model, "cpu")
    exact, half = (StreamingSegmentor(propagator, FixedInterval(1), autocast=dtype) for dtype in (None, torch.bfloat16))
    names = ("float32", "float32, classes summed at mask size", "bfloat16 autocast")
    scores = {name: MeanIoU(dataset.num_classes) for name in names}
    different = pixels = 0
    largest_gap = 0.0
    for number, clip in enumerate(dataset.clips):
        for frame in clip.labelled_frames:
            image, label = dataset.read_image(number, frame)[None], dataset.read_label(number, frame)[None].long()
            size = (image.shape[-2], image.shape[-1])
            with torch.inference_mode():
                prediction = exact.predict(image, None).prediction
                found = semantic_map(prediction, size)
                best = semantic_scores(prediction, size).topk(2, dim=1)
                maps = (found, semantic_map_at_mask_size(prediction, size), half.step(image, None)[0])
            unlike = found != best.indices[:, 0]
            different, pixels = different + int(unlike.sum()), pixels + found.numel()
            largest_gap = max([largest_gap, *(best.values[:, 0] - best.values[:, 1])[unlike].tolist()])
            for name, one in zip(names, maps, strict=True):
                scores[name].update(one, label)
    for name, metric in scores.items():
        print(f"{name}: mIoU {100 * float(metric.compute()['miou']):.2f}")
    print(
        f"label maps against the argmax of scores: {different} of {pixels} pixels differ, by at most {largest_gap:.1e} in score"
    )


if __name__ == "__main__":
    main()
