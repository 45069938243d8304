from scripts.extract_cityscapes import main
from src.data.prepare.cityscapes_archive import extract_entries
from tests.data.prepare.test_cityscapes_archive import image_name, label_name, write_zip


def test_the_frames_before_the_labels_are_extracted(tmp_path, capsys):
    images = write_zip(tmp_path / "seq.zip", [image_name(n) for n in range(30)])
    labels = write_zip(tmp_path / "gt.zip", [label_name(19)])
    out = tmp_path / "out"
    arguments = [str(images), str(labels), "--output", str(out), "--key-interval", "3", "--pair-range", "1"]
    assert main([*arguments, "--dry-run"]) == 0
    assert not out.exists() and "4 files for 1 labels" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "0 exist already" in capsys.readouterr().out
    assert main([*arguments, "--dry-run"]) == 0
    assert "4 exist already" in capsys.readouterr().out
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == [
        label_name(19),
        *(image_name(n) for n in (17, 18, 19)),
    ]


def test_labels_without_frames_and_bad_archives_show_in_the_exit_code(tmp_path, capsys):
    images = write_zip(tmp_path / "seq.zip", [image_name(18)])
    labels = write_zip(tmp_path / "gt.zip", [label_name(19)])
    assert main([str(images), str(labels), "--output", str(tmp_path / "out")]) == 1
    assert f"{label_name(19)}: the labelled frame is in no archive" in " ".join(capsys.readouterr().out.split())
    evil = write_zip(tmp_path / "evil.zip", ["../x"])
    assert main([str(evil), "--output", str(tmp_path / "out")]) == 2
    assert "is outside its folder" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_ends_with_a_message_and_the_same_command_continues(tmp_path, capsys, monkeypatch):
    images = write_zip(tmp_path / "seq.zip", [image_name(n) for n in range(30)])
    arguments = [str(images), str(write_zip(tmp_path / "gt.zip", [label_name(19)])), "--output", str(tmp_path / "out")]

    def stopped(entries, target):
        yield next(extract_entries(entries, target))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("scripts.extract_cityscapes.extract_entries", stopped)
        assert main(arguments) == 130
    assert "the same command continues" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "1 exist already" in capsys.readouterr().out
