"""DAGSTER_HOME uses the edited dagster.yaml, and only one of many processes creates it."""

import multiprocessing
import traceback
from pathlib import Path
from typing import Any

import pytest

from invertory.pipelines.processes import dagster_home as homes
from invertory.pipelines.processes.dagster_home import dagster_home, open_instance

FORK = multiprocessing.get_context("fork")
EARLIER = Path(__file__).with_name("earlier_dagster.yaml")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a dagster.yaml and the home `home`."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setattr(homes, "REPOSITORY_FOLDER", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path


def edit(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_an_edit_of_the_repositorys_file_is_read(house: Path, capsys: Any) -> None:
    dagster_home()
    assert capsys.readouterr().err == ""
    edit(house / "dagster.yaml", "nux: {enabled: false}\n")
    assert "nux" in (dagster_home() / "dagster.yaml").read_text()
    assert "was updated" in capsys.readouterr().err
    dagster_home()
    assert capsys.readouterr().err == ""


def test_an_edit_of_the_homes_file_is_kept(house: Path, capsys: Any) -> None:
    edit(dagster_home() / "dagster.yaml", "nux: {enabled: false}\n")
    assert "nux" in (dagster_home() / "dagster.yaml").read_text()
    assert capsys.readouterr().err == ""


def test_edits_of_both_are_reported_once_with_a_remedy(house: Path, capsys: Any) -> None:
    edit(dagster_home() / "dagster.yaml", "nux: {enabled: false}\n")
    edit(house / "dagster.yaml", "# another\n")
    assert "nux" in (dagster_home() / "dagster.yaml").read_text()
    assert "edit the former, or delete it" in capsys.readouterr().err
    dagster_home()
    assert capsys.readouterr().err == ""
    (house / "home" / "dagster.yaml").unlink()
    assert "# another" in (dagster_home() / "dagster.yaml").read_text()


def test_an_unedited_copy_of_an_earlier_version_is_renewed(house: Path) -> None:
    (house / "home").mkdir()
    (house / "home" / "dagster.yaml").write_bytes(EARLIER.read_bytes())
    assert (dagster_home() / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def opened(gate: Any, told: Any) -> None:
    gate.wait()
    try:
        with open_instance() as instance:
            told.put("" if instance.get_runs_count() == 0 else "it has runs")
    except BaseException:
        told.put(traceback.format_exc())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("repetition", range(5))
def test_first_runs_at_the_same_time_do_not_harm_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repetition: int
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    gate, told = FORK.Barrier(4), FORK.SimpleQueue()
    jobs = [FORK.Process(target=opened, args=(gate, told)) for _ in range(4)]
    for job in jobs:
        job.start()
    assert [told.get() for _ in jobs] == [""] * 4
    for job in jobs:
        job.join(60)
