import os
from pathlib import Path, PurePosixPath

import pytest

from src.files.results.output_names import check_apart, check_names


def check(*names: str) -> None:
    check_names({PurePosixPath(name): Path(f"{number}.mp4") for number, name in enumerate(names)}, ("summary.json",))


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/../b", ".hidden", "a/.b", ".mpvss.lock"])
def test_names_that_are_no_visible_folder_below_the_output_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"0\.mp4: its output name is '.*'; expected a name that does not begin with a dot"):
        check(name)


@pytest.mark.parametrize(
    "names", [("a", "A"), ("d/Ä", "D/ä"), ("caf\u00e9", "cafe\u0301"), ("Summary.json",), ("STRASSE", "straße"), ("a", "b", "B")]
)
def test_names_that_are_one_folder_on_some_file_systems_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="have the same output"):
        check(*names)


@pytest.mark.parametrize("names", [("z", "z/b"), ("z/z", "z/z/b"), ("a/b/c", "A"), ("summary.json/a",)])
def test_outputs_inside_of_one_another_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="is inside that of"):
        check(*names)


def test_other_names_pass() -> None:
    check("a", "ab", "a b/c", "a..b", "x" * 255, "d/a", "d/b", "summary.json2")


@pytest.mark.parametrize(
    "output", ["in", "in/out", "in/new/out", ".", "link", "link/out", "../{here}/in/out", "in/../in", "to_parent"]
)
def test_output_and_input_may_not_contain_one_another_whatever_their_spelling(tmp_path: Path, output: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").touch()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "to_parent").symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match=r"expected separate folders; choose another output"):
        check_apart([tmp_path / "in"], tmp_path / output.format(here=tmp_path.name))


def test_a_link_in_the_input_that_leads_to_the_output_is_refused(tmp_path: Path) -> None:
    for name in ("in", "out", "apart"):
        (tmp_path / name).mkdir()
    (tmp_path / "out" / "a.mp4").touch()
    (tmp_path / "in" / "a.mp4").symlink_to(tmp_path / "out" / "a.mp4")
    with pytest.raises(FileExistsError, match="contains the input"):
        check_apart([tmp_path / "in", tmp_path / "in" / "a.mp4"], tmp_path / "out")
    check_apart([tmp_path / "in", tmp_path / "in" / "a.mp4"], tmp_path / "apart")
    check_apart([tmp_path / "in"], tmp_path / "inn" / "new")
    os.link(tmp_path / "out" / "a.mp4", tmp_path / "apart" / "a.mp4")


def test_an_output_is_not_inside_the_checkpoint_but_may_contain_it(tmp_path: Path) -> None:
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (tmp_path / "link").symlink_to(model)
    for inside in (model, model / "deep", tmp_path / "link", tmp_path / "link" / "deep"):
        with pytest.raises(FileExistsError, match="is inside the checkpoint"):
            check_apart([], inside, model)
    for apart in (tmp_path / "run", tmp_path / "run" / "out", tmp_path):
        check_apart([], apart, model)
    check_apart([], tmp_path / "out", Path("facebook/hub-id"))
