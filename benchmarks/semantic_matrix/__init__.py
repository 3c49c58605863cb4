"""InvGAN's table 2: whether reconstructions preserve attributes for classifiers."""
