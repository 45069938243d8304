import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.command_line.errors import errors_in_a_line, is_of_the_user, one_line, report

ROOT = Path(__file__).resolve().parents[2]
FAKE = "tests.command_line.test_errors."


class OutOfMemoryError(RuntimeError):
    """As torch's."""


def fail(error: str) -> None:
    raise {"value": ValueError, "key": KeyError}[error]("what is wrong\nin two lines")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("what is wrong"),
        FileNotFoundError("what is wrong"),
        FloatingPointError("what is wrong"),
        ModuleNotFoundError("what is wrong", name="optuna.samplers"),
        OutOfMemoryError("what is wrong"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] what is wrong: can't allocate memory"),
    ],
)
def test_an_error_of_the_user_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as ended, errors_in_a_line(3):
        raise error
    assert ended.value.code == 3
    assert len(caplog.messages) == 1 and "what is wrong" in caplog.messages[0]
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(type(error), match="what is wrong"), errors_in_a_line():
        raise error


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), KeyError("a"), ModuleNotFoundError("b", name="src.wrong")])
def test_a_bug_keeps_its_stack(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(type(error)), errors_in_a_line():
        raise error


def test_of_a_failed_target_the_cause_counts() -> None:
    with pytest.raises(InstantiationException) as failed:
        instantiate({"_target_": f"{FAKE}fail", "error": "value"})
    assert is_of_the_user(failed.value) and one_line(failed.value) == "what is wrong; in two lines"
    with pytest.raises(InstantiationException) as failed:
        instantiate({"_target_": f"{FAKE}fail", "error": "key"})
    assert not is_of_the_user(failed.value)
    with pytest.raises(InstantiationException) as failed:
        instantiate({"inner": {"_target_": f"{FAKE}fail", "eror": "key"}})
    assert is_of_the_user(failed.value) and one_line(failed.value).startswith("inner: ") and "eror" in one_line(failed.value)


@pytest.mark.parametrize(
    "error, line",
    [
        (MemoryError(), "not enough memory"),
        (ValueError(), "ValueError"),
        (ValueError("a\n\n  b"), "a; b"),
        (KeyboardInterrupt(), "stopped"),
    ],
)
def test_a_message_has_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    "environment, line",
    [
        ({}, "wrong"),
        ({"LOCAL_RANK": "0", "RANK": "0"}, "wrong"),
        ({"LOCAL_RANK": "0", "RANK": "8"}, "process 8: wrong"),
        ({"LOCAL_RANK": "1", "RANK": "1"}, None),
        ({"SLURM_LOCALID": "3", "SLURM_PROCID": "3"}, None),
    ],
)
def test_several_processes_of_a_machine_say_it_once(
    environment: dict[str, str], line: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("LOCAL_RANK", "RANK", "SLURM_LOCALID", "SLURM_PROCID"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    report("wrong")
    assert caplog.messages == ([] if line is None else [line])


def test_a_command_prints_its_error_in_one_line_whatever_raises_it() -> None:
    """Hydra prints several lines for a misspelt key, and a traceback for an unknown interpolation."""
    for arguments in (["overwritte=true"], ["quality=${nothing}"], ["overwrite"], ["scheduler=fixxed"], ["--overwrite"]):
        command = [sys.executable, "-m", "src.predict", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
        assert done.returncode == 1 and len((done.stdout + done.stderr).splitlines()) == 1, done.stdout + done.stderr
