"""How several processes train one model: a copy in each (DDP), or a share of it in each (FSDP)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed import DistError
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from src.models.propagator import Propagator
from src.weights.model_folder import build_model, model_config

# Gloo has no error of a type of its own; of some messages its source file is a part.
_GLOO_SAYS = re.compile(r"/gloo/|application timeout|timed out waiting|connection (reset|closed|refused)", re.IGNORECASE)


def ddp_strategy(
    timeout_seconds: int = 1800,
    find_unused_parameters: bool = False,
    static_graph: bool = False,
    gradient_as_bucket_view: bool = True,
    process_group_backend: str | None = None,
) -> DDPStrategy:
    """Lightning's DDP with its settings by name, so that a misspelt one is an error.

    Args:
        timeout_seconds: how long a process waits for the others before the run ends with an error.
        find_unused_parameters: search each step for parameters without a gradient; no stage of this project has any.
        static_graph: tell DDP that the same parameters take part in every step.
        gradient_as_bucket_view: gradients live in the buckets that are sent, which saves their size in memory.
        process_group_backend: ``nccl`` or ``gloo``; ``None`` takes what fits the device.
    """
    return DDPStrategy(
        find_unused_parameters=find_unused_parameters,
        static_graph=static_graph,
        gradient_as_bucket_view=gradient_as_bucket_view,
        process_group_backend=process_group_backend,
        timeout=timedelta(seconds=timeout_seconds),
    )


@contextmanager
def explain_lost_processes(trainer: Trainer) -> Iterator[None]:
    """Say what the errors of gloo and NCCL mean: that another process of the run died, or did not answer in time.

    Raises:
        RuntimeError: in the place of such an error.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, DistError) and not _GLOO_SAYS.search(str(error)):
            raise
        raise RuntimeError(
            f"process {trainer.global_rank} of {trainer.world_size} lost another one, which ended or did not answer within "
            f"trainer.strategy.timeout_seconds: the end of its output says why. The same command with resume=true goes on from "
            f"the last checkpoint. ({error})"
        ) from error


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2: parameters, gradients and optimiser state are spread over all processes; each works on its own samples.

    Lightning's older ``FSDPStrategy`` cannot clip gradients by their norm, which the recipe does. Checkpoints are single files
    with the whole model, as those of any other run.

    Args:
        block_size: smallest unit that is gathered and dropped on its own, in parameters.
        timeout_seconds: how long a process waits for the others before the run ends with an error.
        process_group_backend: ``nccl`` or ``gloo``; ``None`` takes what fits the device.

    Raises:
        ValueError: if ``block_size`` is not positive.
    """

    def __init__(
        self, block_size: int = 1_000_000, timeout_seconds: int = 1800, process_group_backend: str | None = None
    ) -> None:
        if block_size < 1:
            raise ValueError(f"block_size={block_size}; expected at least 1 parameter")
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timedelta(seconds=timeout_seconds),
        )
        self.block_size = block_size

    def setup_environment(self) -> None:
        """Spread the data over all processes; Lightning's own guess is one share per machine."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, propagator: Propagator) -> None:
        """Spread a model over the processes; afterwards its parameters are new objects."""
        mesh = self.device_mesh["data_parallel"]
        # Inner units first. Only what is called through forward() can be one, and the elements of a list of layers are.
        for module in reversed(list(propagator.modules())):
            for block in module if isinstance(module, nn.ModuleList) else ():
                if not isinstance(block, FSDPModule) and _size(block) >= self.block_size:
                    fully_shard(block, mesh=mesh)
        for network in (propagator.segmentor, propagator.flow):
            if _size(network):
                fully_shard(network, mesh=mesh)


def shard_model(module: LightningModule, propagator: Propagator) -> None:
    """What ``configure_model`` does: spread the model where the strategy asks for it, once."""
    strategy = module.trainer.strategy
    if isinstance(strategy, FullyShardedStrategy) and not is_sharded(propagator):
        strategy.shard(propagator)


def gather_parameters(propagator: Propagator) -> None:
    """Give each process the whole model until :func:`reshard_parameters`; all of them must call both.

    In validation the processes have different numbers of samples: one that gathered in a forward pass would wait for ever.
    """
    for module in propagator.modules():
        if isinstance(module, FSDPModule):
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()


def reshard_parameters(propagator: Propagator) -> None:
    """The end of :func:`gather_parameters`; nothing, where the model is not spread over processes."""
    for module in propagator.modules():
        if isinstance(module, FSDPModule):
            module.set_reshard_after_forward(True, recurse=False)
            module.reshard()


def is_sharded(propagator: Propagator) -> bool:
    """Whether each process has but a share of the parameters."""
    return any(isinstance(parameter, DTensor) for parameter in propagator.parameters())


def full_model(propagator: Propagator, trainer: Trainer) -> Propagator:
    """The model to save: itself, or a copy with what lies on the other processes. All of them must call this.

    Returns:
        On processes other than the first, the copy has weights of no meaning.
    """
    if not is_sharded(propagator):
        return propagator
    state = get_model_state_dict(propagator, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    whole = build_model(model_config(propagator))
    if trainer.is_global_zero:
        whole.load_state_dict(state)
    return whole


def full_tensor(tensor: Tensor) -> Tensor:
    """A scalar that may be spread over the processes, put together; all of them must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
