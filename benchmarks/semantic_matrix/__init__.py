"""Whether reconstructions keep what attribute classifiers see: InvGAN's table 2."""
