"""The precision in which networks compute; stored and optimised values stay float32."""

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16"]  # bfloat16: forward passes under autocast

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def check_precision(precision: str) -> Precision:
    """Return the precision of that name; raise ValueError for an unknown one."""
    for known in PRECISIONS:
        if precision == known:
            return known
    raise ValueError(f"expected precision {' or '.join(PRECISIONS)}, got {precision!r}")
