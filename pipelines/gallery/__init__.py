"""The gallery: one HTML page of what a recipe made."""
