"""The precision that networks compute in; what is stored and what is optimised stays float32."""

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16"]  # bfloat16: forward passes under autocast

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def checked(precision: str) -> Precision:
    """The precision of that name; ValueError for one that nothing computes in."""
    for known in PRECISIONS:
        if precision == known:
            return known
    raise ValueError(f"expected precision {' or '.join(PRECISIONS)}, got {precision!r}")
