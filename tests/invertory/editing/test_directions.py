"""Direction files of other projects, refusals, and rows adapted to another generator."""

import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import invertory
from invertory.boundaries import unit
from invertory.editing.directions import (
    adapt_rows,
    read_direction,
    stylegan_row_resolutions,
    write_direction,
)

SHARED = Path(invertory.__file__).resolve().parents[1] / "../shared/data/directions"
MOBILE_ROWS = (4, *(8 * 2**i for i in range(7) for _ in range(3)), 1024)


def shared(name: str) -> bytes:
    if not (SHARED / name).exists():
        pytest.skip(f"../shared/data/directions/{name} is absent: no published file to read")
    return (SHARED / name).read_bytes()


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["age_boundary", "smile_w_boundary", "age_c_gender_boundary"])
def test_published_interfacegan(name: str) -> None:
    data = shared(f"interfacegan/stylegan_ffhq_{name}.npy")
    found = read_direction(data, f"{name}.npy")
    assert found.rows.shape == (1, 512) and found.scale == pytest.approx(1.0)
    stored = np.load(io.BytesIO(data), allow_pickle=False)
    np.testing.assert_allclose(found.rows.numpy(), stored, atol=1e-12)


@pytest.mark.parametrize(("name", "num_rows"), [("age", 1), ("smile", 1), ("pose", 18)])
def test_published_e4e(name: str, num_rows: int) -> None:
    found = read_direction(shared(f"e4e/interfacegan_directions/{name}.pt"), f"{name}.pt")
    assert found.rows.shape == (num_rows, 512)
    assert found.scale == pytest.approx(1.0, abs=1e-4)
    assert adapt_rows(found.rows, 23).shape == (1, 512)  # the file repeats one direction 18 times


def test_published_components() -> None:
    data = shared("e4e/ganspace_pca/ffhq_pca.pt")
    first, third = (read_direction(data, "ffhq_pca.pt", component=k) for k in (0, 2))
    stored = torch.load(io.BytesIO(data), weights_only=True)
    assert first.rows.shape == (1, 512) and first.spread == pytest.approx(float(stored["std"][0]))
    torch.testing.assert_close(third.rows, unit(stored["comp"][2]))
    assert abs(float((first.rows * third.rows).sum())) < 1e-4
    with pytest.raises(ValueError, match="within 0-79, got 80"):
        read_direction(data, "ffhq_pca.pt", component=80)


def test_ganspace_npz() -> None:
    buffer = io.BytesIO()
    components = randn(5, 1, 16).numpy()
    np.savez(buffer, lat_comp=components, lat_stdev=np.arange(1.0, 6.0), act_comp=components)
    found = read_direction(buffer.getvalue(), "stylegan2-ffhq_style.npz", component=3)
    assert found.spread == 4.0
    torch.testing.assert_close(found.rows, unit(torch.from_numpy(components[3])))
    with pytest.raises(ValueError, match="component number for GANSpace files"):
        read_direction(buffer.getvalue(), "stylegan2-ffhq_style.npz")


def test_sam_rows_may_be_zero_and_keep_their_scale() -> None:
    rows = randn(1, 18, 16).numpy()
    rows[:, 8:] = 0
    found = read_direction(npy(rows), "pose.npy")
    assert found.rows.shape == (18, 16)
    assert float(found.rows[8:].abs().max()) == 0
    np.testing.assert_allclose((found.rows * found.scale).numpy(), rows[0], atol=1e-6)


def test_in_domain_boundary() -> None:
    content = {"boundary": randn(1, 14, 16).numpy(), "meta_data": {"manipulate_layers": [2, 3, 4]}}
    found = read_direction(npy(np.array(content, dtype=object), allow_pickle=True), "age.npy")
    assert found.rows.shape == (14, 16) and found.layers == (2, 3, 4)
    torch.testing.assert_close(found.rows, unit(torch.from_numpy(content["boundary"][0])))


class Malice:
    """Code that a hostile file would run; the marker shows whether it ran."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/invertory-was-here",)


def test_hostile_npy_runs_nothing() -> None:
    data = npy(np.array({"boundary": Malice()}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="system"):
        read_direction(data, "age.npy")
    assert not Path("/tmp/invertory-was-here").exists()


def test_hostile_pt_runs_nothing() -> None:
    buffer = io.BytesIO()
    torch.save({"direction": Malice()}, buffer)
    with pytest.raises(ValueError, match=r"age\.pt to hold plain arrays"):
        read_direction(buffer.getvalue(), "age.pt")
    assert not Path("/tmp/invertory-was-here").exists()


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "age.npy", "plain arrays"),
        (b"PK\x03\x04", "age.pt", "plain arrays"),
        (b"12345678{", "age.safetensors", "plain arrays"),
        (pickle.dumps([1]), "age.pkl", "suffix"),
        (npy(np.zeros((1, 4))), "age.npy", "non-zero norm"),
        (npy(np.ones((2, 3, 4))), "age.npy", r"\[2, 3, 4\]"),
    ],
)
def test_other_files_are_refused(data: bytes, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_direction(data, name)


@pytest.mark.parametrize("format", ["npy", "pt", "safetensors"])
@pytest.mark.parametrize("num_rows", [1, 14])
def test_what_we_write_we_read(format: str, num_rows: int) -> None:
    rows = unit(randn(num_rows, 16))
    found = read_direction(write_direction(rows, format), f"age.{format}")
    torch.testing.assert_close(found.rows, rows, atol=1e-6, rtol=0)


def test_path_gives_bytes_and_name(tmp_path: Path) -> None:
    path = tmp_path / "age.npy"
    path.write_bytes(write_direction(unit(randn(1, 16)), "npy"))
    assert torch.equal(read_direction(path).rows, read_direction(path.read_bytes(), "age.npy").rows)


def test_layout_of_a_1024_px_generator() -> None:
    wanted = [4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 1024]
    assert list(stylegan_row_resolutions(18)) == wanted


def test_rows_by_resolution() -> None:
    rows = randn(18, 16).double()
    rows[9:] = 0  # a direction that acts only below 128 px
    found = adapt_rows(rows, 23, MOBILE_ROWS)
    assert found.shape == (23, 16)
    torch.testing.assert_close(found[1], found[3])
    torch.testing.assert_close(found[0] / found[0].norm(), rows[0] / rows[0].norm())
    torch.testing.assert_close(found[1] / found[0].norm(), (rows[1] + rows[2]) / 2 / rows[0].norm())
    assert float(found[13:].abs().max()) == 0


def test_rows_that_fit_stay() -> None:
    rows = randn(18, 16)
    torch.testing.assert_close(adapt_rows(rows, 18), unit(rows))


def test_rows_without_resolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 23 rows, got 18 rows that differ"):
        adapt_rows(randn(18, 16), 23)


def test_rows_for_a_smaller_generator_are_refused() -> None:
    with pytest.raises(ValueError, match="rows for 512 px, got 14 rows for up to 256 px"):
        adapt_rows(randn(14, 16), 23, MOBILE_ROWS)


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """A header that states this shape, and 16 bytes of data."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(16)


def npz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        npy_header((1 << 40,)),
        npy_header((1 << 62, 1 << 62)),
        npy_header((-5,)),
        npy_header((1 << 20,), "|V1048576"),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_header_that_states_more_than_there_is_asks_for_no_memory(
    header: bytes, is_packed: bool
) -> None:
    data = npz({"lat_comp": header, "lat_stdev": header}) if is_packed else header
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="the header states"):
            read_direction(data, "x.npz" if is_packed else "x.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_an_npz_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invertory.editing.directions.MAX_BYTES", 1 << 20)
    bomb = npz({"lat_comp": bytes(64 << 20)})
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="unpacks to more than"):
            read_direction(bomb, "x.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_an_npz_of_objects_is_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, lat_comp=np.array([{}], object), lat_stdev=np.ones(1))
    with pytest.raises(ValueError, match="plain arrays"):
        read_direction(buffer.getvalue(), "x.npz", component=0)
