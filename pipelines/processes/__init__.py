"""Processes that run recipes: their home, their locks, and how they end."""
