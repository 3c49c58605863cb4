"""TorchScript archives are read, never run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from invertory.checkpoints.torchscript import UnsafeArchiveError, read_torchscript


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norms = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
        self.register_buffer("scale", torch.tensor(2.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.norms(self.conv(x)) * self.scale


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    net, path = Net(), tmp_path_factory.mktemp("script") / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; files in this format remain
        torch.jit.script(net).save(str(path))
    return net, path


def edited(path: Path, target: Path, member: str, data: bytes) -> Path:
    """The archive with one member replaced."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            made.writestr(name, data if name.endswith(member) else source.read(name))
    return target


def test_tensors_come_back_by_the_names_of_their_modules(saved: tuple[Net, Path]) -> None:
    net, path = saved
    found = read_torchscript(path)
    expected = net.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


@pytest.mark.parametrize("name", ["os.system", "torch.hub.load", "builtins.eval"])
def test_a_pickle_that_asks_for_more_is_refused_before_it_runs(
    saved: tuple[Net, Path], tmp_path: Path, name: str
) -> None:
    module, _, function = name.rpartition(".")
    hostile = f"c{module}\n{function}\n(S'touch {tmp_path}/ran'\ntR.".encode()
    path = edited(saved[1], tmp_path / "bad.pt", "/data.pkl", hostile)
    with pytest.raises(UnsafeArchiveError, match=f"got the name {name}"):
        read_torchscript(path)
    assert not (tmp_path / "ran").exists()


def test_a_member_cut_short_is_refused(saved: tuple[Net, Path], tmp_path: Path) -> None:
    path = edited(saved[1], tmp_path / "cut.pt", "/data/0", b"\0" * 3)
    with pytest.raises(UnsafeArchiveError, match="values in member 0, got 3 B"):
        read_torchscript(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.pt"
    text.write_text("not a zip")
    with pytest.raises(UnsafeArchiveError, match="expected a TorchScript archive"):
        read_torchscript(text)
    empty = tmp_path / "b.pt"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(UnsafeArchiveError, match=r"expected one data\.pkl"):
        read_torchscript(empty)
    plain = tmp_path / "c.pt"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps([1, 2]))
    assert read_torchscript(plain) == {}
