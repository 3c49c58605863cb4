"""Read direction files of other projects without running their code, and adapt their rows.

| file | content |
|---|---|
| InterFaceGAN .npy | (1, w_dim) float64 |
| e4e, PTI .pt | a tensor (1, w_dim) or (1, 18, w_dim) |
| SAM .npy | (1, 18, w_dim), not normalised; rows may be zero |
| GANSpace .npz | lat_comp, lat_stdev: a component is chosen by its number |
| GANSpace in e4e .pt | {mean, comp, std}: likewise |
| idinvert .npy | a pickled dict {boundary, meta_data}: by the allow-list reader |
| ours .safetensors | "direction" [rows, w_dim] |
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from invertory.boundaries import unit
from invertory.checkpoints.object_npy import read_object_npy

MAX_BYTES = 256 * 2**20
SAME_ROWS = 1e-4  # relative difference below which the rows of a file count as one direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """A direction from a file, scaled to unit norm (see `boundaries.unit`)."""

    rows: Tensor  # [num_rows, w_dim] float64
    scale: float  # norm in the file, which published step sizes are multiplied by
    spread: float | None = None  # GANSpace: standard deviation along the component
    layers: tuple[int, ...] | None = None  # idinvert: rows that its authors edit


def read_direction(
    file: Path | bytes, name: str | None = None, *, component: int | None = None
) -> Direction:
    """Read a direction from a file, or from its bytes and name; the suffix selects the format.

    `component` is the number of a principal component, required for GANSpace files and only for
    them. Raises `ValueError` if the file is too large, malformed or holds anything else.
    """
    name = name or (file.name if isinstance(file, Path) else "")
    data = file if isinstance(file, bytes) else _read(file)
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"expected a direction of at most {MAX_BYTES} bytes, got more: {name}; save the "
            "direction in a file of its own"
        )
    content = _content(data, name)
    is_pca = isinstance(content, Mapping) and ("lat_comp" in content or "comp" in content)
    if is_pca != (component is not None):
        raise ValueError(
            f"expected a component number for GANSpace files and only for them, got {component} "
            f"for {name}; set or remove `component`"
        )
    if isinstance(content, Mapping):
        return _from_pca(content, component, name) if is_pca else _from_mapping(content, name)
    return _direction(content, name)


def adapt_rows(rows: Tensor, num_ws: int, row_resolutions: Sequence[int] | None = None) -> Tensor:
    """rows [R, w_dim] => [1 or num_ws, w_dim] of unit norm, for a generator of `num_ws` rows.

    One row, or equal rows, apply to all rows. Otherwise the counts must agree; or, if the generator
    has `row_resolutions`, the px of each of its rows in ascending order, each row takes the mean of
    the file's rows of that resolution, assuming that the file has StyleGAN's layout. Raises
    `ValueError` if the rows do not fit.
    """
    spread = (rows - rows.mean(0)).norm() / rows.norm()
    if len(rows) == 1 or spread < SAME_ROWS:
        return unit(rows.mean(0, keepdim=True))
    if len(rows) == num_ws:
        return unit(rows)
    if row_resolutions is None or len(row_resolutions) != num_ws:
        raise ValueError(
            f"expected a direction of 1 or {num_ws} rows, got {len(rows)} rows that differ and a "
            "generator without row resolutions; use a file with one row"
        )
    known = torch.tensor(stylegan_row_resolutions(len(rows)))
    picked = []
    for resolution in row_resolutions:
        if not (known == resolution).any():
            raise ValueError(
                f"expected a file with rows for {resolution} px, got {len(rows)} rows for up to "
                f"{int(known.max())} px; use one made for a generator of that size"
            )
        picked.append(rows[known == resolution].mean(0))
    return unit(torch.stack(picked))


def stylegan_row_resolutions(num_ws: int) -> tuple[int, ...]:
    """px at which each of StyleGAN's 2 log2(resolution) - 2 rows acts: 4, 8, 8, 16, 16, ...

    A row shared by a block's ToRGB and the next block's first convolution counts as the next
    block's. Raises `ValueError` for an odd number of rows.
    """
    if num_ws < 2 or num_ws % 2:
        raise ValueError(
            f"expected an even number of rows (2 log2(resolution) - 2), got {num_ws}; the file is "
            "for another kind of generator"
        )
    largest = 2 ** (num_ws // 2 + 1)
    return tuple(min(4 * 2 ** ((row + 1) // 2), largest) for row in range(num_ws))


def write_direction(rows: Tensor, format: Literal["npy", "pt", "safetensors"]) -> bytes:
    """Encode rows [R, w_dim] as InterFaceGAN's .npy (one row), e4e's .pt, or our .safetensors.

    Raises `ValueError` for an unknown format.
    """
    buffer = io.BytesIO()
    if format == "safetensors":
        return save_safetensors({"direction": rows.float().contiguous()})
    if format == "pt":
        torch.save((rows if len(rows) == 1 else rows[None]).float().clone(), buffer)
        return buffer.getvalue()
    if format != "npy":
        raise ValueError(f"expected a format among npy, pt, safetensors, got {format!r}")
    np.save(buffer, (rows if len(rows) == 1 else rows[None]).double().numpy(), allow_pickle=False)
    return buffer.getvalue()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)  # one more byte than allowed, to detect larger files


def _content(data: bytes, name: str) -> Any:
    """Read the content of a file: an array, a tensor or a mapping of them."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"expected a direction file with suffix {', '.join(READERS)}, got {name!r}; convert it"
        )
    try:
        return READERS[suffix](data)
    except (
        ValueError,
        EOFError,
        OSError,
        RuntimeError,
        SafetensorError,
        pickle.PickleError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise ValueError(
            f"expected {name} to hold plain arrays or tensors as a {suffix} file, got "
            f"{type(error).__name__}: {str(error)[:300]}; save the bare tensor again"
        ) from error


def _read_npy(data: bytes) -> Any:
    _check_npy(data)
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        return read_object_npy(data)


def _read_npz(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = {}
        for key in ("lat_comp", "lat_stdev"):
            if f"{key}.npy" in archive.namelist():
                with archive.open(f"{key}.npy") as member:
                    arrays[key] = _plain_npy(member.read(MAX_BYTES + 1), key)
        return arrays


def _plain_npy(data: bytes, name: str) -> Any:
    """Read an array of numbers."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} unpacks to more than {MAX_BYTES} bytes")
    _check_npy(data)
    return np.load(io.BytesIO(data), allow_pickle=False)


def _check_npy(data: bytes) -> None:
    """Raise ValueError if the header states more bytes than exist: numpy would allocate them."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"expected .npy version 1 or 2, got {version}")
    shape, _, dtype = readers[version](stream)
    stated = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and not 0 <= stated <= len(data) - stream.tell():
        raise ValueError(
            f"the header states shape {shape} of {dtype}, {stated} bytes; the file holds "
            f"{len(data) - stream.tell()}"
        )


def _read_pt(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


READERS: dict[str, Any] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".safetensors": load_safetensors,
}


def _from_pca(content: Mapping[str, Any], component: int | None, name: str) -> Direction:
    components = content.get("lat_comp", content.get("comp"))
    stdevs = torch.as_tensor(content.get("lat_stdev", content.get("std"))).flatten()
    if component is None or not 0 <= component < len(stdevs):
        raise ValueError(
            f"expected a component within 0-{len(stdevs) - 1}, got {component}; {name} holds "
            f"{len(stdevs)} components"
        )
    return _direction(components[component], name, spread=float(stdevs[component]))


def _from_mapping(content: Mapping[str, Any], name: str) -> Direction:
    if "direction" in content:
        return _direction(content["direction"], name)
    if "boundary" in content:
        layers = content.get("meta_data", {}).get("manipulate_layers")
        return _direction(content["boundary"], name, layers=tuple(layers) if layers else None)
    raise ValueError(
        f"expected a direction, a boundary or components in {name}, got {sorted(content)[:10]}; "
        "save the bare tensor"
    )


def _direction(values: Any, name: str, **known: Any) -> Direction:
    """Convert an array [w_dim], [1, w_dim], [rows, w_dim] or [1, rows, w_dim] to a direction."""
    is_tensor = isinstance(values, Tensor)
    rows = values.detach().double() if is_tensor else torch.tensor(np.asarray(values, np.float64))
    while rows.ndim > 2 and rows.shape[0] == 1:
        rows = rows[0]
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2:
        raise ValueError(
            f"expected one direction, [rows, w_dim], got {list(rows.shape)} in {name}; save the "
            "direction in a file of its own"
        )
    normal = unit(rows)
    return Direction(rows=normal, scale=float(rows.norm() / normal.norm()), **known)
