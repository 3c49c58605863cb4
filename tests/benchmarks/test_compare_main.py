"""The command's exit code."""

from __future__ import annotations

import sys

import pytest

from benchmarks.compare import __main__ as command


@pytest.mark.parametrize(("whole", "code"), [((True, True), 0), ((True, False), 1)])
def test_a_method_that_failed_in_any_domain_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, whole: tuple[bool, bool], code: int
) -> None:
    found = dict(zip(("portraits", "faces"), whole, strict=True))
    ran = []

    def run(name: str, asked: object) -> bool:
        ran.append(name)
        return found[name]

    monkeypatch.setattr(command, "run", run)
    arguments = ["compare", "--threads", "1", "--domain", "portraits", "faces"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == code
    assert ran == ["portraits", "faces"]
