"""Name and files of this package: ``src`` in a checkout, ``mpvss`` where it is installed (``hatch_build.py``)."""

from pathlib import Path

NAME = __name__.partition(".")[0]
"""Name that the package has here."""

_NAMES = ("src", "mpvss")
_FOLDER = Path(__file__).resolve().parents[1]


def package_path(name: str) -> Path:
    """Return the path of a file or folder such as ``conf``: inside the installed package, beside the package in a checkout."""
    installed = _FOLDER / name
    return installed if installed.exists() else _FOLDER.parent / name


def own_target(target: str) -> str:
    """Return the dotted name of a class or function, with the name that the package has here if it is one of the package.

    Checkpoints and configurations saved by a checkout and by an installation contain different names.
    """
    top, dot, rest = target.partition(".")
    return f"{NAME}.{rest}" if dot and top in _NAMES else target
