"""Moving average of the weights during training, which is validated and saved."""

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class WeightAverage(WeightAveraging):
    """Exponential moving average of weights and buffers, kept by Lightning.

    Validations, checkpoints (``state_dict``) and the saved model have the average; training goes on from the weights themselves,
    also in a resumed run. Lightning's ``EMAWeightAveraging`` would save the initial weights of a training shorter than its start.

    Args:
        decay: share of the average that each step keeps, 0..1.
        start_step: steps at the start after which the average is still the weights themselves.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, decay: float = 0.999, start_step: int = 100) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; expected 0 <= decay < 1")
        if start_step < 0:
            raise ValueError(f"start_step is {start_step}; expected 0 or more")

        def average(averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
            return current if num_averaged <= start_step else decay * averaged + (1 - decay) * current

        super().__init__(avg_fn=average)
