"""The gallery: one HTML page with the results of a recipe."""
