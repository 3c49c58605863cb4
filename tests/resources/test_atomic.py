"""A name stands for a whole file or for none."""

from pathlib import Path

import fsspec
import pytest

from invertory.resources.atomic import replacing, sweep

LOCAL = fsspec.filesystem("file")


def test_the_name_appears_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    with replacing(LOCAL, str(path)) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file_alone(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(LOCAL, str(path)) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweeping_spares_what_is_being_written(tmp_path: Path) -> None:
    (tmp_path / ".dead.0.tmp").write_bytes(b"left by a killed process")
    path = tmp_path / "x"
    with replacing(LOCAL, str(path)) as file:
        sweep(LOCAL, str(tmp_path))
        file.write(b"whole")
    assert [found.name for found in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"whole"
