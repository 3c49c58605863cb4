"""The networks of a recipe: resolved to cards, and loaded from them."""
