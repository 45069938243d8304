"""Place of the results: a folder, or the file of the overlay, such as ``out.mp4``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.files.results.owned_file import FileScratch, check_file, file_scratch
from src.files.results.owned_folder import Scratch, output_lock
from src.files.results.result_marker import check_replaceable
from src.files.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from src.inference.video.outputs import OutputOptions, earlier_files

_VIDEOS, _PICTURES = (".mp4",), (".png", ".jpg", ".jpeg")


def names_file(output: Path) -> bool:
    """Return whether an output names a video or picture instead of a folder; an existing folder is a folder by any name."""
    return output.suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES and not output.is_dir()


def check_output(output: Path, options: OutputOptions, is_picture: bool, overwrite: bool) -> None:
    """Refuse an output that cannot be written, or that would replace earlier results or files of another program.

    Args:
        output: folder, or file if ``options.is_file``.
        options: options of the outputs.
        is_picture: whether the input is a single image.
        overwrite: whether earlier results may be replaced.

    Raises:
        FileExistsError: if a file would be lost.
        OSError: if the place cannot be written to.
        ValueError: if a file has another format than the overlay, or several outputs are requested.
    """
    if not options.is_file:
        check_replaceable(output, options.names(is_picture), overwrite, earlier_files)
        return
    expected, kind = (_PICTURES, "a picture") if is_picture else (_VIDEOS, "a video")
    if output.suffix.lower() not in expected:
        raise ValueError(f"output is {output} for {kind}; expected a folder or a name that ends in {', '.join(expected)}")
    several = [
        name for name in ("labels", "flow_pictures", "flicker", "confidence", "report", "exports") if getattr(options, name)
    ]
    if several:
        found = f"[{', '.join(options.exports)}]" if several[0] == "exports" else "true"
        raise ValueError(f"{several[0]} is {found}, but output is the file {output}; expected a folder for several outputs")
    check_file(output, overwrite)


@contextmanager
def output_scratch(output: Path, is_file: bool) -> Iterator[Scratch | FileScratch]:
    """Yield the scratch of an output, which no other run writes to where it is a folder."""
    if is_file:
        with file_scratch(output) as file:
            yield file
    else:
        with output_lock(output), Scratch(output, ".", earlier_files) as folder:
            yield folder
