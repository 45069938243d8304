from types import SimpleNamespace
from typing import Any

from tests.inference.tiny import FakeClips


class FakeTrainer(SimpleNamespace):
    """The attributes of a trainer that callbacks read."""

    def __init__(self, **changes: Any) -> None:
        defaults = {
            "global_step": 0, "max_steps": 7, "log_every_n_steps": 2, "is_global_zero": True, "sanity_checking": False,
            "accumulate_grad_batches": 1, "world_size": 1, "loggers": [], "callback_metrics": {},
            "datamodule": SimpleNamespace(val=FakeClips()),
        }  # fmt: skip
        super().__init__(**defaults | changes)
