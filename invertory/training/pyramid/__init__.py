"""The trainers of pSp, e4e and ReStyle."""
