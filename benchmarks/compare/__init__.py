"""`make compare`: all inversion methods on the same held-out images, and the papers' claims."""
