"""Run a clip of the goldens in a runtime, in a process of its own: golden_clip <folder of goldens/pipeline> <runtime>."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.inference.runtime.graphs import convert
from src.models.frame_modules import KeyFrame, carried
from src.models.propagator import Propagator
from src.ops.masks import semantic_scores
from src.weights.official import from_official
from tests.weights.golden_rule import golden_image, golden_state

SIZE = (96, 128)
LOGITS, NEAR_TIE = 1e-3, 1e-4


@torch.inference_mode()
def faults(propagator: Propagator, folder: Path, runtime: Any) -> list[str]:
    """Return what deviates from the reference numbers."""
    expected = np.load(folder / "clip_96x128.npz")
    images = [golden_image(f"clip/96x128/frame{number}", *SIZE)[None] for number in range(3)]
    graphs, found = convert(propagator, runtime, images[0]), list[str]()
    assert graphs.key is not None and graphs.nonkey is not None
    outputs = graphs.key(images[0])
    key, _ = KeyFrame(propagator).prediction(outputs, SIZE)
    for number, image in enumerate(images):
        prediction, name = key, "mask_logits"
        if number:
            prediction, _ = carried(propagator, key, graphs.nonkey(image, *outputs[1:]), graphs.names)
            name = f"warped_{number}"
        scale = float(np.abs(expected[name]).max())
        error = float(np.abs(prediction.mask_logits.numpy() - expected[name]).max()) / scale
        best = semantic_scores(prediction, SIZE)[0].topk(2, dim=0)
        differ = (best.indices[0].numpy() != expected[f"semmap_{number}"]) & (expected[f"margin_{number}"] > NEAR_TIE)
        sys.stdout.write(f"{name}: off by {error:.1e} of the largest logit, {differ.mean():.2%} of the labels\n")
        if not error <= LOGITS or differ.any():
            found.append(name)
    return found


if __name__ == "__main__":
    clip = Path(sys.argv[1])
    model = from_official(golden_state(clip))
    assert isinstance(model, Propagator)
    sys.exit(", ".join(faults(model.eval(), clip, sys.argv[2])) or None)
