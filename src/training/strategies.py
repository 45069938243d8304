"""Training of one model by several processes: a copy per process (DDP) or a shard per process (FSDP)."""

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

# Gloo has no error type of its own; some of its messages contain its source path.
_GLOO_ERROR = re.compile(r"/gloo/|application timeout|timed out waiting|connection (reset|closed|refused)", re.IGNORECASE)


def ddp_strategy(
    timeout_seconds: int = 1800,
    find_unused_parameters: bool = False,
    static_graph: bool = False,
    gradient_as_bucket_view: bool = True,
    process_group_backend: str | None = None,
) -> DDPStrategy:
    """Build Lightning's DDP with named settings, so that a misspelt setting is an error.

    Args:
        timeout_seconds: longest wait of a process for the others; after it the run ends with an error.
        find_unused_parameters: search each step for parameters without a gradient; no stage of this project has any.
        static_graph: promise DDP that the same parameters take part in every step.
        gradient_as_bucket_view: store gradients in the communication buckets, which saves a copy of all gradients.
        process_group_backend: ``nccl`` or ``gloo``; ``None`` chooses by device.
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
    """Replace errors of gloo and NCCL by one that explains them: another process of the run died or did not respond in time."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, DistError) and not _GLOO_ERROR.search(str(error)):
            raise
        raise RuntimeError(
            f"process {trainer.global_rank} of {trainer.world_size} lost another process, which ended or did not respond within "
            f"trainer.strategy.timeout_seconds; see the end of its output for the reason. The same command with resume=true "
            f"continues from the last checkpoint. ({error})"
        ) from error


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2 strategy: parameters, gradients and optimizer state are sharded over all processes.

    Lightning's older ``FSDPStrategy`` cannot clip gradients by their norm, which the recipe needs. Checkpoints are single files
    with the whole model, as under other strategies.

    Args:
        block_size: smallest unit that is gathered and freed by itself, in parameters.
        timeout_seconds, process_group_backend: see :func:`ddp_strategy`.
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
        """Divide the data among all processes; Lightning's default is one part per machine."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, propagator: Propagator) -> None:
        """Shard a model over the processes; its parameters are replaced by new objects.

        Raises:
            ValueError: if a fusion head trains, which is read outside the forward pass of the flow.
        """
        head = propagator.flow.fusion
        if head is not None and any(parameter.requires_grad for parameter in head.parameters()):
            raise ValueError("trainer is fsdp; expected ddp for stage=fusion, whose few parameters need no shards")
        mesh = self.device_mesh["data_parallel"]
        # Inner units first. A unit must be called through its forward(), as the elements of a list of layers are.
        for module in reversed(list(propagator.modules())):
            for block in module if isinstance(module, nn.ModuleList) else ():
                if not isinstance(block, FSDPModule) and _size(block) >= self.block_size:
                    fully_shard(block, mesh=mesh)
        for network in (propagator.segmentor, propagator.flow):
            if _size(network):
                fully_shard(network, mesh=mesh)


def shard_model(module: LightningModule, propagator: Propagator) -> None:
    """Shard the model once if the strategy is :class:`FullyShardedStrategy`; called by ``configure_model``."""
    strategy = module.trainer.strategy
    if isinstance(strategy, FullyShardedStrategy) and not is_sharded(propagator):
        strategy.shard(propagator)


def set_gathered(network: nn.Module, gathered: bool) -> None:
    """Gather the whole model in each process, or shard it again; all processes must call both. No effect on other models.

    The processes validate different numbers of samples, so one that gathered in a forward pass would wait forever.
    """
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_reshard_after_forward(not gathered, recurse=False)
            (module.unshard if gathered else module.reshard)()


def is_sharded(network: nn.Module) -> bool:
    """Return whether each process holds only a shard of the parameters."""
    return any(isinstance(parameter, DTensor) for parameter in network.parameters())


def full_model(propagator: Propagator, trainer: Trainer) -> Propagator:
    """Return the model to save: the model, or a gathered copy of a sharded model. All processes must call this.

    On processes other than the first, a gathered copy has meaningless weights.
    """
    if not is_sharded(propagator):
        return propagator
    state = get_model_state_dict(propagator, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    whole = build_model(model_config(propagator))
    if trainer.is_global_zero:
        whole.load_state_dict(state)
    return whole


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather a tensor that may be sharded over the processes; all processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
