"""Runtime of the networks of a command, with the folder of its prepared graphs."""

from pathlib import Path

from src.command_line.arguments import typed_path
from src.inference.runtime.frames import RuntimeName, Runtimes
from src.inference.runtime.store import EXPORTED
from src.weights.checkpoints import is_transformers_folder
from src.weights.folder_files import CONFIG_FILE


def runtimes_of(name: RuntimeName, checkpoint: object) -> Runtimes:
    """Return a runtime that keeps its graphs in the checkpoint's folder, if that is a model folder of this project."""
    if checkpoint is None:
        return Runtimes(name)
    path = typed_path(str(checkpoint))
    # A hub id or the name of a shipped model, whose folder is not the user's, is no path, whatever lies in the current folder.
    if not path.exists() or path.suffix == ".ckpt":
        return Runtimes(name)
    folder: Path = path if path.is_dir() else path.parent
    is_model = (folder / CONFIG_FILE).is_file() and not is_transformers_folder(folder)
    return Runtimes(name, folder / EXPORTED if is_model else None)
