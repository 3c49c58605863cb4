"""Scikit-learn's handwritten digits as a collection: `digits://`, 1,797 images of 8 x 8 px.

They are part of the package, which cites the UCI Machine Learning Repository (Alpaydin and Kaynak,
"Optical Recognition of Handwritten Digits", 1998, doi.org/10.24432/C50P49, CC BY 4.0). A file name
such as `digits://000012-7.png` contains the number of the image and the digit that it shows.
"""

import errno
from functools import cache
from typing import Any, Final

import numpy as np

from invertory.images import encode
from invertory.resources.generated_files import GeneratedFiles

SCHEME: Final = "digits://"


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [1797, 8, 8] in [0, 255] with bright ink, and labels int64 [1797]."""
    from sklearn.datasets import load_digits

    dataset = load_digits()
    return np.rint(dataset.images * (255 / 16)).astype(np.uint8), dataset.target


@cache
def names() -> dict[str, int]:
    """Name => row."""
    return {f"{row:06d}-{label}.png": row for row, label in enumerate(digits()[1])}


class DigitFiles(GeneratedFiles):
    """The filesystem behind `digits://`."""

    protocol = "digits"
    read_only = "digits:// is read-only"

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List one file or all of them."""
        path = self._strip_protocol(path)
        paths = [path] if path else list(names())
        return [self.info(name) for name in paths] if detail else paths

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        _row(path)
        return {"name": path, "size": None, "type": "file", "ETag": "digits-1"}

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        image = digits()[0][_row(self._strip_protocol(path))]
        return encode(np.repeat(image[:, :, None], 3, 2), "png")[start:end]


def _row(name: str) -> int:
    if name not in names():
        raise FileNotFoundError(
            errno.ENOENT, "expected a digit such as digits://000012-2.png, got", f"{SCHEME}{name}"
        )
    return names()[name]
