"""Moving average of the weights during training, which is validated and saved."""

from lightning.pytorch.callbacks import EMAWeightAveraging


class WeightAverage(EMAWeightAveraging):
    """Lightning's exponential moving average of weights and buffers, with its arguments named.

    Validations, checkpoints (``state_dict``) and the saved model have the average; training goes on from the weights themselves,
    also in a resumed run.

    Args:
        decay: share of the average that each step keeps, 0..1.
        start_step: step after which the average begins.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, decay: float = 0.999, start_step: int = 100) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; expected 0 <= decay < 1")
        if start_step < 0:
            raise ValueError(f"start_step is {start_step}; expected 0 or more")
        super().__init__(decay=decay, update_starting_at_step=start_step)
