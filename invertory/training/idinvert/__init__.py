"""The trainers of In-Domain's encoders, and their pairs of latents and images."""
