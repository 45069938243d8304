import pytest

from src.command_line.errors import errors_in_a_line


@pytest.mark.parametrize("error", [ValueError("what is wrong"), FileNotFoundError("what is wrong")])
def test_argument_error_is_one_line_and_other_errors_keep_their_stack(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as ended, errors_in_a_line():
        raise error
    assert ended.value.code == 1 and caplog.messages == ["what is wrong"]
    with pytest.raises(RuntimeError, match="a fault of ours"), errors_in_a_line():
        raise RuntimeError("a fault of ours")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(type(error), match="what is wrong"), errors_in_a_line():
        raise error
