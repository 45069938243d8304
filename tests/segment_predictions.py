"""A prediction of three queries with known winners, and constant flows."""

import torch

from src.structures import FlowPrediction, MaskPrediction

SIZE, PADDED = (56, 250), (64, 256)


def prediction() -> MaskPrediction:
    """Query 0 is the left half of class 2, query 1 the right half of class 0, query 2 covers everything as "no object"."""
    masks = torch.full((1, 1, 3, 16, 64), -20.0)
    masks[..., 0, :, :32] = 20
    masks[..., 1, :, 32:] = 20
    masks[..., 2, :, :] = 25
    classes = torch.full((1, 1, 3, 4), -10.0)
    classes[0, 0, [0, 1, 2], [2, 0, 3]] = 10
    return MaskPrediction(classes, masks, torch.zeros(1, 3, 8), SIZE, PADDED)


def flow_of(vectors: list[tuple[float, float]]) -> FlowPrediction:
    """One constant vector per query, in pixels of a grid at 1/8 of the image."""
    segment_flow = torch.tensor(vectors)[None, :, :, None, None].expand(1, len(vectors), 2, 8, 32)
    return FlowPrediction(segment_flow, (), PADDED)
