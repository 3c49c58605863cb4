"""The tables: a page for each, the chain that they form, and the trace of an image through it."""
