"""Runtime of the networks of a command, with the folder of its prepared graphs."""

from pathlib import Path

from src.command_line.arguments import typed_path
from src.inference.runtime.frames import RuntimeName, Runtimes
from src.inference.runtime.store import EXPORTED
from src.weights.checkpoints import is_transformers_folder
from src.weights.folder_files import CONFIG_FILE
from src.weights.shipped import shipped_model


def runtimes_of(name: RuntimeName, checkpoint: object) -> Runtimes:
    """Return a runtime that keeps its graphs in the checkpoint's folder, if that is a model folder of this project."""
    if checkpoint is None:
        return Runtimes(name)
    path = shipped_model(typed_path(str(checkpoint)))
    folder: Path = path if path.is_dir() else path.parent
    # A hub id is no path, whatever lies in the current folder.
    is_model = (
        path.exists() and path.suffix != ".ckpt" and (folder / CONFIG_FILE).is_file() and not is_transformers_folder(folder)
    )
    return Runtimes(name, folder / EXPORTED if is_model else None)
