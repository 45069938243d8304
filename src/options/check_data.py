"""Options of ``python scripts/check_data.py``, see ``conf/check_data.yaml``."""

from typing import Annotated

from pydantic import Field

from src.options.fields import Options, Paths, PathText, Split, Workers
from src.options.groups import Data


class CheckData(Options):
    """Check of the files of a dataset."""

    paths: Paths
    data: Data
    splits: Annotated[list[Split], Field(min_length=1)]
    workers: Workers
    output: PathText
    exclusion: PathText
    overwrite: bool
