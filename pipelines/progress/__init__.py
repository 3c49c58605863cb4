"""How far a stage is, and the memory that it takes."""
