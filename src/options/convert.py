"""Options of ``python -m src.convert``, see ``conf/convert.yaml``."""

from typing import Literal

from src.options.fields import Options, Paths, PathText
from src.options.groups import Data


class Convert(Options):
    """Conversion of published weights."""

    paths: Paths
    data: Data | None = None
    input: PathText
    output: PathText
    to: Literal["ours", "official"]
    flow: Literal["copy", "dis"]
    overwrite: bool
