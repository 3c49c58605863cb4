"""A classifier in a few hundred bytes of ONNX: the mean of each channel."""

from __future__ import annotations


def onnx_mean(size_px: int) -> bytes:
    """An ONNX model: image [1, 3, size_px, size_px] => mean of each channel [1, 3, 1, 1]."""
    node = _field(1, "x") + _field(2, "y") + _field(4, "GlobalAveragePool")
    shapes = _field(11, _tensor("x", (1, 3, size_px, size_px)))
    shapes += _field(12, _tensor("y", (1, 3, 1, 1)))
    graph = _field(1, node) + _field(2, "mean") + shapes
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))  # IR 8, opset 13


def _tensor(name: str, shape: tuple[int, ...]) -> bytes:
    """A named float tensor."""
    dims = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """A protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
