"""The trainers of In-Domain's encoders, and the pairs they learn from."""
