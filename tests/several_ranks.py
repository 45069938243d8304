"""Run several entry points in each process of one torchrun, because imports take longer than the tiny runs.

torchrun --nproc_per_node=2 tests/several_ranks.py <file>    the file: a JSON list of [module, argument, ...]
"""

import importlib
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from hydra.core.global_hydra import GlobalHydra

# Hydra then looks for conf/ beside the source file, as it does for `python -m`, and lets errors through.
os.environ |= {"HYDRA_MAIN_MODULE": "__main__", "HYDRA_FULL_ERROR": "1"}
torch.set_num_threads(1)
# One group for all of them: a second one would find the addresses of the first.
dist.init_process_group("gloo")
for module, *arguments in json.loads(Path(sys.argv[1]).read_text()):
    sys.argv[1:] = arguments
    importlib.import_module(module).main()
    GlobalHydra.instance().clear()
dist.destroy_process_group()
