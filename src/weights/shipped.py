"""Models that come with the code, by name."""

import logging
import os
from pathlib import Path

from src.files.own_package import package_path

log = logging.getLogger(__name__)

SHIPPED_MODELS = {"street": package_path("assets") / "street"}
"""Model folders by the name for ``checkpoint=``. ``street``: CamVid's 11 classes; ``assets/street/README.md`` is its card."""


def shipped_model(checkpoint: str | Path) -> Path:
    """Return the folder of a shipped model by its name; a local file or folder of that name, and any other path, unchanged."""
    path = Path(checkpoint)
    folder = SHIPPED_MODELS.get(str(checkpoint))
    if folder is None:
        return path
    if os.path.lexists(path):
        log.warning("checkpoint %s is the one in the current folder, not the shipped model of that name", path)
        return path
    return folder
