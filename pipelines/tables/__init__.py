"""The tables of the house: one page a table, the chain that they form, and a trace through it."""
