"""Read OpenVINO IR v10 (an .xml graph and a .bin of constants) as named numpy arrays.

Nothing of the graph is executed, and OpenVINO is not needed. The layout is described in
https://docs.openvino.ai/2022.3/openvino_docs_MO_DG_IR_and_opsets.html. A document with a DOCTYPE is
refused, so that none of its entities is ever expanded or fetched.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

DTYPES: dict[str, np.dtype] = {
    "f64": np.dtype("<f8"),
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "i64": np.dtype("<i8"),
    "i32": np.dtype("<i4"),
    "i16": np.dtype("<i2"),
    "i8": np.dtype("i1"),
    "u64": np.dtype("<u8"),
    "u32": np.dtype("<u4"),
    "u16": np.dtype("<u2"),
    "u8": np.dtype("u1"),
    "boolean": np.dtype("?"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph; a `Const` also has the location of its bytes."""

    id: int
    name: str
    type: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    offset: int = 0  # bytes into the .bin
    size: int = 0  # bytes


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations, the edges between them, and the constants."""

    nodes: dict[int, Node]
    sources: dict[int, tuple[int, ...]]  # node => nodes that feed its input ports, in port order
    blob: bytes = field(repr=False)
    users: dict[int, tuple[int, ...]]  # node => nodes that it feeds

    def find(self, name: str) -> Node:
        """Return the only node of that name."""
        matches = [node for node in self.nodes.values() if node.name == name]
        if len(matches) != 1:
            raise ValueError(
                f"expected one node named {name!r} in the OpenVINO graph, got {len(matches)}; "
                "check that this is the network that the converter was written for"
            )
        return matches[0]

    def source(self, node: Node, port: int) -> Node:
        """Return the node that feeds input `port` (0-based) of `node`."""
        feeds = self.sources.get(node.id, ())
        if port >= len(feeds):
            raise ValueError(
                f"expected {node.type} {node.name!r} to have an input {port}, got {len(feeds)} "
                "inputs; check that this is the network that the converter was written for"
            )
        return self.nodes[feeds[port]]

    def user(self, node: Node) -> Node:
        """Return the only node that `node` feeds."""
        fed = self.users.get(node.id, ())
        if len(fed) != 1:
            raise ValueError(
                f"expected {node.type} {node.name!r} to feed one node, got {len(fed)}; check that "
                "this is the network that the converter was written for"
            )
        return self.nodes[fed[0]]

    def array(self, node: Node) -> np.ndarray:
        """Copy the value of a `Const`, with its own shape and dtype."""
        if node.type != "Const":
            raise ValueError(f"expected a Const, got {node.type} {node.name!r}, which has no value")
        raw = np.frombuffer(self.blob, np.uint8, node.size, node.offset)
        return raw.view(DTYPES[node.dtype]).reshape(node.shape).copy()

    def constants(self) -> dict[str, np.ndarray]:
        """All constants by name."""
        return {n.name: self.array(n) for n in self.nodes.values() if n.type == "Const"}


def read_ir(xml: bytes, blob: bytes) -> Graph:
    """Read the bytes of the .xml and the .bin => `Graph`.

    Raises `ValueError` if a constant does not fit the .bin or the graph is damaged.
    """
    root = _parse(xml)
    layers, edges = root.find("layers"), root.find("edges")
    if root.tag != "net" or layers is None or edges is None:
        raise ValueError(
            f"expected an OpenVINO IR (<net> with <layers> and <edges>), got <{root.tag}>; pass "
            "the .xml first and the .bin second"
        )
    if root.get("version") != "10":
        raise ValueError(f"expected OpenVINO IR version 10, got version {root.get('version')}")
    parsed = [_node(layer, len(blob)) for layer in layers]
    nodes = {node.id: node for node in parsed}
    if len(nodes) != len(parsed):
        raise ValueError(f"expected distinct layer ids, got {len(parsed)} layers, {len(nodes)} ids")
    sources, users = _wire(edges, nodes)
    return Graph(nodes, sources, blob, users)


class _NoDoctype(ET.TreeBuilder):
    """Builds the tree and stops at a DOCTYPE, before reading any of its entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError(
            f"expected XML without DOCTYPE, got {name!r}: refused because of its entities"
        )


def _parse(xml: bytes) -> ET.Element:
    try:
        return ET.fromstring(xml, ET.XMLParser(target=_NoDoctype()))
    except ET.ParseError as error:
        raise ValueError(
            f"expected the .xml of an OpenVINO IR, got unreadable XML: {error}"
        ) from error


def _node(layer: ET.Element, blob_bytes: int) -> Node:
    label = f"{layer.get('type')} {layer.get('name')!r}"
    node_id, name, kind = _int(layer, "id", label), layer.get("name", ""), layer.get("type", "")
    if kind != "Const":
        return Node(node_id, name, kind)
    data = layer.find("data")
    if data is None:
        raise ValueError(f"expected <data> in {label}, got none: the .xml is damaged")
    dtype = data.get("element_type", "")
    if dtype not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)} in {label}, got {dtype!r}")
    shape = tuple(int(n) for n in data.get("shape", "").split(",") if n.strip())
    offset, size = _int(data, "offset", label), _int(data, "size", label)
    if min((offset, size, *shape)) < 0 or offset + size > blob_bytes:
        raise ValueError(
            f"expected {label} inside the {blob_bytes} bytes of the .bin, got {size} bytes at "
            f"{offset}; the two files do not belong together, or the .bin is cut short"
        )
    if size != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"expected {dtype} {shape} in {label}, got {size} bytes")
    return Node(node_id, name, kind, shape, dtype, offset, size)


def _int(element: ET.Element, key: str, label: str) -> int:
    text = element.get(key, "")
    if not text.isdigit():
        raise ValueError(f"expected an integer as {key!r} of {label}, got {text!r}")
    return int(text)


def _wire(
    edges: ET.Element, nodes: dict[int, Node]
) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """Convert edges => (sources by port, users); each edge must join two known nodes."""
    by_port: dict[int, dict[int, int]] = {}
    users: dict[int, set[int]] = {}
    for edge in edges:
        source, to, port = (
            _int(edge, key, "edge") for key in ("from-layer", "to-layer", "to-port")
        )
        if source not in nodes or to not in nodes:
            raise ValueError(f"expected an edge between known layers, got {source} to {to}")
        by_port.setdefault(to, {})[port] = source
        users.setdefault(source, set()).add(to)
    sources = {to: tuple(ports[p] for p in sorted(ports)) for to, ports in by_port.items()}
    return sources, {source: tuple(sorted(fed)) for source, fed in users.items()}
