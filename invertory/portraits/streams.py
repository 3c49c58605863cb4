"""Random numbers from a seed that never change: raw PCG64 bits and our own transforms.

NumPy guarantees the raw output of the bit generator; its distributions may change between releases.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

MAX_SEED = 2**63 - 1


def row_seed(seed: int, row: int) -> int:
    """The seed of a row of a collection, 0 to 2^63 - 1; collections do not share seeds."""
    digest = hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def check_seed(seed: int) -> int:
    """Return the seed; raise ValueError unless it is an integer from 0 to 2^63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ValueError(f"expected a whole number from 0 to 2^63 - 1 as the seed, got {seed!r}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"expected a seed from 0 to 2^63 - 1, got {seed}")
    return int(seed)


def uniforms(seed: int, num: int) -> npt.NDArray[np.float64]:
    """`num` uniform numbers in the open interval (0, 1)."""
    raw = np.random.PCG64(seed).random_raw(num)
    return ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normals(even: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Uniform numbers [2 n] => standard normal numbers [2 n] (Box and Muller, 1958).

    (sqrt(-2 ln u1) cos(2 pi u2), sqrt(-2 ln u1) sin(2 pi u2)).
    """
    first, second = even.reshape(2, -1)
    radius = np.sqrt(-2 * np.log(first))
    turn = 2 * np.pi * second
    return np.concatenate([radius * np.cos(turn), radius * np.sin(turn)])


class Stream:
    """Random draws in a fixed order; new draws may only be added at the end."""

    def __init__(self, seed: int, num: int) -> None:
        self._uniforms = uniforms(seed, num)
        self._next = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A uniform number between `low` and `high`."""
        value = float(self._uniforms[self._next])
        self._next += 1
        return low + (high - low) * value

    def integer(self, num: int) -> int:
        """A uniform integer from 0 to num - 1."""
        return int(self.uniform() * num)
