"""The store: one Parquet file per table and shard, on any fsspec root.

`<root>/<recipe>/<table>/<shard>.parquet` holds the rows; rejects lie in
`<table>/_rejects/<shard>.parquet`, the states of inversions in `<table>/_state/` (see
`state_files`), and the chunks of an unfinished shard in `<table>/_parts/`. A shard is done when the
footer of its file verifies and has the wanted key, and the files that the footer names are there
(see `siblings`). A kill costs at most the chunk being computed and the one being written.
"""

from invertory.resources.footers import Published
from invertory.resources.tables.resource import Tables
from invertory.resources.tables.store import Store

__all__ = ["Published", "Store", "Tables"]
