"""Rows, names and footers that do not fit are refused, with both sides in the error."""

from __future__ import annotations

import pyarrow as pa
import pytest


def test_rows_of_another_schema_are_refused_with_both_sides(store, latents):
    batch = pa.RecordBatch.from_pydict({"crop_id": ["a"], "score": [1.0]})
    with pytest.raises(ValueError, match=r"(?s)expected: crop_id: string not null.*score: double"):
        latents.write(store, [batch], "attributes")
    assert latents.files(store) == []


@pytest.mark.parametrize("column", ["crop_id", "latent", "loss"])
def test_null_in_a_never_null_column_is_refused(local, column, latents):
    batch = pa.RecordBatch.from_pylist(
        [latents.row(0), {**latents.row(1), column: None}], schema=latents.schema
    )
    with pytest.raises(ValueError, match=f"'{column}' expected no null, got 1"):
        latents.write(local, [batch])


def test_null_inside_a_tensor_is_refused(local, latents):
    rows = [[0.0] * 4, [0.0] * 4, [0.0, None, 0.0, 0.0]]
    broken = {**latents.row(1), "latent": rows}
    batch = pa.RecordBatch.from_pylist([latents.row(0), broken], schema=latents.schema)
    with pytest.raises(ValueError, match=r"latent\[\]\[\]"):
        latents.write(local, [batch])


@pytest.mark.parametrize("name", ["../x", "", ".x", "_parts", "a b", "x/../y"])
def test_names_that_leave_the_store_are_refused(local, name):
    with pytest.raises(ValueError, match="expected a table name"):
        local.shards(name)


def test_footer_is_text_and_not_the_stores_own(local, latents):
    with pytest.raises(TypeError, match=r"json\.dumps"):
        latents.write(local, [], "t", footer={"config": {"a": 1}})
    with pytest.raises(ValueError, match="'num_inputs'"):
        latents.write(local, [], "t", footer={"num_inputs": "3"})


def test_a_chunk_without_inputs_is_refused(local, latents):
    with pytest.raises(ValueError, match="1 or more"):
        latents.publish(local, lambda start: iter([latents.chunk(0, 0)]))
