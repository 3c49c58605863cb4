"""How fast one-pass methods are from bytes to Parquet rows, against the bare network."""
