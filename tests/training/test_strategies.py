"""Laws of strategies: named settings, and an error that explains a lost process."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from torch.distributed import DistNetworkError

from src.training.strategies import (
    FullyShardedStrategy,
    ddp_strategy,
    explain_lost_processes,
    full_model,
    full_tensor,
    is_sharded,
)
from tests.inference.tiny import tiny_propagator

TRAINER = SimpleNamespace(global_rank=1, world_size=4, is_global_zero=False)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/__w/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer."),
        RuntimeError("Application timeout caused pair closure"),
        DistNetworkError("failed to recv"),
    ],
)
def test_lost_process_error_names_the_rank_and_the_remedy(error: RuntimeError) -> None:
    expected = r"^process 1 of 4 lost another process.*resume=true.*last checkpoint"
    with pytest.raises(RuntimeError, match=expected) as raised, explain_lost_processes(TRAINER):
        raise error
    assert raised.value.__cause__ is error and str(error) in str(raised.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("connection reset")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explain_lost_processes(TRAINER):
        raise error
    assert raised.value is error


def test_settings_reach_the_strategies() -> None:
    ddp = ddp_strategy(timeout_seconds=7, static_graph=True, process_group_backend="gloo")
    assert ddp._timeout == timedelta(seconds=7) and ddp.process_group_backend == "gloo"
    assert ddp._ddp_kwargs == {"find_unused_parameters": False, "static_graph": True, "gradient_as_bucket_view": True}
    with pytest.raises(TypeError, match="time_out"):
        ddp_strategy(time_out=7)
    assert FullyShardedStrategy(timeout_seconds=7)._timeout == timedelta(seconds=7)
    with pytest.raises(ValueError, match="block_size=0; expected at least 1 parameter"):
        FullyShardedStrategy(block_size=0)


def test_a_fusion_head_is_not_trained_in_shards() -> None:
    propagator = tiny_propagator("dis")
    propagator.flow.add_fusion_head(4)
    propagator.set_trainable(["flow.fusion"])
    with pytest.raises(ValueError, match="trainer is fsdp; expected ddp for stage=fusion"):
        FullyShardedStrategy().shard(propagator)


def test_model_of_one_process_needs_no_gathering() -> None:
    propagator, loss = tiny_propagator("copy"), torch.tensor(1.5)
    assert not is_sharded(propagator)
    assert full_model(propagator, TRAINER) is propagator and full_tensor(loss) is loss
