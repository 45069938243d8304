"""Table of the jobs of a multirun, and an exit code for failed jobs."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from src.files.own_package import package_path

log = logging.getLogger(__name__)

_TABLE = package_path("scripts") / "sweep_table.py"


class MultirunTable(Callback):
    """Hydra callback for the end of a multirun, under any launcher."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write ``sweep.md``, ``sweep.csv`` and ``sweep.png`` into the folder of the multirun, and print the table.

        Raises:
            SystemExit: with code 1 if a job failed.
        """
        folder = Path(config.hydra.sweep.dir)
        failed = sorted(folder.glob("*/failed.txt"), key=lambda path: (len(path.parent.name), path.parent.name))
        # A continued Optuna study replaces the table.
        subprocess.run([sys.executable, str(_TABLE), str(folder), "--overwrite"], check=False)
        for path in failed:
            log.error("job %s failed: %s", path.parent.name, path.read_text(encoding="utf-8").strip())
        if failed:
            sys.exit(1)
