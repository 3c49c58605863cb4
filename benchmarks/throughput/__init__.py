"""Throughput of feed-forward methods from image files to Parquet, against the bare network."""
