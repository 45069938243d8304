"""Run several entry points in each process of one torchrun, because imports take longer than the tiny runs.

torchrun --nproc_per_node=2 tests/several_ranks.py <file>    the file: a JSON list of [module, argument, ...]
"""

import importlib
import json
import os
import sys
from pathlib import Path

import torch
from hydra.core.global_hydra import GlobalHydra

from src.inference.distributed import join_world

# Hydra then looks for conf/ beside the source file, as it does for `python -m`, and lets errors through.
os.environ |= {"HYDRA_MAIN_MODULE": "__main__", "HYDRA_FULL_ERROR": "1"}
torch.set_num_threads(1)
# One group for all of them: a second one would find the addresses of the first.
with join_world():
    for module, *arguments in json.loads(Path(sys.argv[1]).read_text()):
        sys.argv[1:] = arguments
        try:
            importlib.import_module(module).main()
        # An exit code is a result too: that of src.predict.
        except SystemExit as stopped:
            sys.stdout.write(f"{module} ended with {stopped.code}\n")
        GlobalHydra.instance().clear()
