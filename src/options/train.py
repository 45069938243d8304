"""Options of ``python -m src.train``, see ``conf/train.yaml``."""

from typing import Any, Literal

from src.options.fields import Count, CountOrZero, Nodes, Options, Paths, PathText, Seed, Text, Workers
from src.options.groups import Data, Datamodule, MaskLoss, Model, Stage, Trainer


class Train(Options):
    """Training of one stage."""

    paths: Paths
    data: Data
    model: Model
    stage: Stage
    trainer: Trainer
    logger: Nodes
    callbacks: Nodes
    name: Text
    run_dir: PathText
    job: CountOrZero | None
    seed: Seed
    resume: bool | Literal["force"]
    overwrite: bool
    replay: PathText | None
    monitor: Text | None
    key_interval: Count
    upload_model: bool
    batch_size: Count
    global_batch_size: Count | None
    samples_per_pair: Count
    extra_train: Nodes | None
    num_workers: Workers
    mask_loss: MaskLoss
    datamodule: Datamodule
    # Keys of conf/sweep/flow.yaml.
    flow_choice: Text = ""
    flow_choices: Nodes | None = None
    flow_trainable: dict[str, list[Text]] | None = None
    flow_queries: dict[str, Text] | None = None

    @classmethod
    def needed(cls, values: dict[str, Any]) -> set[str] | None:
        """Return no option for ``replay``, which takes its networks from the failed run."""
        return None if values.get("replay") is None else set()
