"""Recipes: their sections, how YAML becomes one, and what is checked before anything runs."""
