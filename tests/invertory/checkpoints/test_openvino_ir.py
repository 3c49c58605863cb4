"""The reader of OpenVINO IR, on a graph of four nodes and on damaged ones."""

from __future__ import annotations

import numpy as np
import pytest

from invertory.checkpoints.openvino_ir import read_ir

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
AXIS = np.array(7, dtype=np.int64)
BLOB = WEIGHT.tobytes() + AXIS.tobytes()
XML = """<?xml version="1.0"?>
<net name="tiny" version="10">
  <layers>
    <layer id="0" name="x" type="Parameter"><data shape="1, 3" element_type="f32"/></layer>
    <layer id="1" name="fc.weight" type="Const">
      <data element_type="f32" shape="2, 3" offset="0" size="24"/></layer>
    <layer id="2" name="axis" type="Const">
      <data element_type="i64" shape="" offset="24" size="8"/></layer>
    <layer id="3" name="y" type="MatMul"/>
  </layers>
  <edges>
    <edge from-layer="1" from-port="0" to-layer="3" to-port="1"/>
    <edge from-layer="0" from-port="0" to-layer="3" to-port="0"/>
  </edges>
</net>
"""


def read(xml: str = XML, blob: bytes = BLOB) -> dict[str, np.ndarray]:
    return read_ir(xml.encode(), blob).constants()


def test_constants_have_name_shape_and_value() -> None:
    constants = read()
    assert constants.keys() == {"fc.weight", "axis"}
    np.testing.assert_array_equal(constants["fc.weight"], WEIGHT)
    assert constants["axis"].shape == ()
    assert constants["axis"] == 7


def test_the_graph_is_walked_by_port() -> None:
    graph = read_ir(XML.encode(), BLOB)
    product = graph.find("y")
    assert [graph.source(product, port).name for port in (0, 1)] == ["x", "fc.weight"]
    assert graph.user(graph.find("fc.weight")) == product


def test_arrays_are_copies() -> None:
    graph = read_ir(XML.encode(), BLOB)
    graph.array(graph.find("fc.weight"))[:] = 0
    np.testing.assert_array_equal(graph.array(graph.find("fc.weight")), WEIGHT)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('size="24"', 'size="23"', "got 23 bytes"),
        ('offset="24"', 'offset="25"', "inside the 32 bytes"),
        ('offset="24"', 'offset="-1"', "expected an integer"),
        ('shape="2, 3"', 'shape="2, 4"', "expected f32"),
        ('shape="2, 3"', 'shape="-2, -3"', "inside the 32 bytes"),
        ('element_type="i64"', 'element_type="i4"', "expected one of"),
        ('id="2"', 'id="1"', "expected distinct layer ids"),
        ('from-layer="0"', 'from-layer="9"', "between known layers"),
        ('version="10"', 'version="11"', "version 10"),
        ("<net ", "<graph ", "unreadable XML"),
        ("<edges>", "<links>", "unreadable XML"),
    ],
)
def test_damage_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(XML.replace(old, new, 1))


def test_a_short_bin_is_named() -> None:
    with pytest.raises(ValueError, match=r"cut short"):
        read(blob=BLOB[:-1])


def test_another_document_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected an OpenVINO IR"):
        read("<html/>")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE net SYSTEM "file:///etc/hostname">',
    ],
)
def test_a_doctype_is_refused(doctype: str) -> None:
    with pytest.raises(ValueError, match="without DOCTYPE"):
        read(XML.replace('<?xml version="1.0"?>', f'<?xml version="1.0"?>{doctype}'))


def test_asking_for_what_is_not_there_is_named() -> None:
    graph = read_ir(XML.encode(), BLOB)
    with pytest.raises(ValueError, match="expected one node named 'z'"):
        graph.find("z")
    with pytest.raises(ValueError, match="to have an input 2"):
        graph.source(graph.find("y"), 2)
    with pytest.raises(ValueError, match="expected a Const, got MatMul"):
        graph.array(graph.find("y"))
    with pytest.raises(ValueError, match="to feed one node, got 0"):
        graph.user(graph.find("axis"))
