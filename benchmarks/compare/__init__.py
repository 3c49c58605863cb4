"""`make compare`: every method of inversion on the same held-out pictures, and what it claims."""
