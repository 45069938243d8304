import os
from pathlib import Path

import pytest
import torch
from torch import nn

from src.weights.folder_files import CONFIG_FILE, WEIGHTS_FILE, plain_json, read_config, read_weights, write_folder
from tests.files.results.test_owned_folder import at_call

CONFIG = {"format": "mine 1", "size": 3}


def layer(value: float) -> nn.Linear:
    network = nn.Linear(3, 2)
    nn.init.constant_(network.weight, value)
    return network


def test_a_folder_returns_what_was_written(tmp_path: Path) -> None:
    network = layer(0.5)
    write_folder(tmp_path / "a" / "model", CONFIG, network, ["mine 1"])
    assert read_config(tmp_path / "a" / "model" / CONFIG_FILE) == CONFIG
    tensors = read_weights(tmp_path / "a" / "model" / WEIGHTS_FILE)
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"], "nothing else is left beside the folder"


def test_replacing_takes_new_weights_and_leaves_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, CONFIG, layer(0.0), ["mine 1"])
    (folder / "notes.txt").write_text("keep me")
    write_folder(folder, CONFIG, layer(1.0), ["mine 1"])
    assert (folder / "notes.txt").read_text() == "keep me"
    assert read_weights(folder / WEIGHTS_FILE)["weight"].unique().tolist() == [1.0]


@pytest.mark.parametrize("content", ['{"format": "other"}', "no JSON", None])
def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if content is not None:
        (tmp_path / CONFIG_FILE).write_text(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(FileExistsError, match="nothing was written"):
        write_folder(tmp_path, CONFIG, layer(0.0), ["mine 1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_failed_write_leaves_the_earlier_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    write_folder(folder, CONFIG, layer(0.0), ["mine 1"])

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.weights.folder_files.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_folder(folder, CONFIG, layer(1.0), ["mine 1"])
    assert read_weights(folder / WEIGHTS_FILE)["weight"].unique().tolist() == [0.0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("earlier", [True, False])
def test_a_folder_is_whole_again_after_a_kill_at_any_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    values: set[float | None] = set()
    for number in range(1, 40):
        folder = tmp_path / str(number) / "model"
        if earlier:
            write_folder(folder, CONFIG, layer(0.0), ["mine 1"])
            (folder / "notes.txt").write_text("mine")
        child = os.fork()
        if not child:
            calls = at_call(monkeypatch, number, lambda: os._exit(1))
            write_folder(folder, CONFIG | {"size": 4}, layer(1.0), ["mine 1"])
            os._exit(0 if calls[0] < number else 2)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            size, value = read_config(folder / CONFIG_FILE)["size"], read_weights(folder / WEIGHTS_FILE)["weight"][0, 0].item()
            assert (size, value) in ((3, 0.0), (4, 1.0))
        except FileNotFoundError:
            assert not earlier, "the earlier model is gone"
            value = None
        values.add(value)
        write_folder(folder, CONFIG, layer(2.0), ["mine 1"])
        found = sorted(path.name for path in folder.iterdir())
        assert found == [CONFIG_FILE, WEIGHTS_FILE, "notes.txt"][: 2 + earlier], found
        if ended == 0:
            break
    assert ended == 0 and values == {0.0 if earlier else None, 1.0}


def test_unreadable_files_are_one_line_errors_that_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{CONFIG_FILE} does not exist; expected a model folder"):
        read_config(tmp_path / CONFIG_FILE)
    (tmp_path / CONFIG_FILE).write_text("[1]")
    with pytest.raises(ValueError, match=f"{CONFIG_FILE} contains a list; expected an object"):
        read_config(tmp_path / CONFIG_FILE)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"\x10" * 40)
    with pytest.raises(ValueError, match=f"{WEIGHTS_FILE} is not a readable safetensors file"):
        read_weights(tmp_path / WEIGHTS_FILE)


def test_plain_json_has_no_tuples_and_refuses_what_json_lacks() -> None:
    assert plain_json({"a": (1, 2)}) == {"a": [1, 2]}
    for value in (float("nan"), {1, 2}):
        with pytest.raises(ValueError, match="without a JSON form"):
            plain_json({"a": value})


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_weights_have_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_folder(tmp_path / "model", CONFIG, layer(0.0), ["mine 1"])
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes == {CONFIG_FILE: 0o666 & ~umask, WEIGHTS_FILE: 0o666 & ~umask}
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~umask
