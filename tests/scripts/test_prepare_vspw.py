import pytest

from scripts.prepare_vspw import main
from src.data.datasets.vspw import VSPW
from tests.data.fake_layouts import write_vspw


def test_a_small_copy_is_made_and_continued(tmp_path, capsys):
    source = write_vspw(tmp_path / "full", {"a": ["1", "4"], "b": ["0"]}, split="val", names={"others": 0, "sky": 1})
    arguments = [str(source), str(tmp_path / "small"), "--short-side", "6", "--workers", "2"]
    assert main(arguments) == 0
    data = VSPW(tmp_path / "small", "val", num_classes=1)
    assert (tuple(data.read_image(0, 1).shape), data.classes) == ((3, 6, 8), ("sky",))
    assert "6 files written" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "0 files written" in capsys.readouterr().out


def test_errors_and_wrong_folders_show_in_the_exit_code(tmp_path, capsys):
    source = write_vspw(tmp_path / "full", {"a": ["1", "4"]})
    (source / "data/a/origin/1.jpg").write_bytes(b"")
    assert main([str(source), str(tmp_path / "small"), "--short-side", "6", "--workers", "0"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "a/origin/1.jpg is empty" in printed and "3 files written" in printed and "1 left out" in printed
    assert main([str(source), str(source)]) == 2
    assert "is the source itself" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_ends_with_a_message_and_the_same_command_continues(tmp_path, capsys, monkeypatch):
    source = write_vspw(tmp_path / "full", {"a": ["1", "4"]})
    arguments = [str(source), str(tmp_path / "small"), "--short-side", "6", "--workers", "0"]

    def stopped(function, items, workers):
        yield function(items[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("scripts.prepare_vspw.map_files", stopped)
        assert main(arguments) == 130
    assert "the same command continues" in capsys.readouterr().out and not (tmp_path / "small/train.txt").exists()
    assert main(arguments) == 0
    assert "3 files written" in capsys.readouterr().out


def test_a_negative_number_of_processes_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "small"), "--workers", "-1"])
    assert "--workers -1; expected 0 or more" in capsys.readouterr().err
