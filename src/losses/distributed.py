"""Normalizers shared by all ranks, so that a loss is independent of how a batch is split over processes."""

import torch
from torch import Tensor


def reduce_mean_over_ranks(value: Tensor) -> Tensor:
    """Return the mean of a value of any shape over all ranks, detached; the value itself in a single process."""
    value = value.detach()
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
