"""The images that a recipe reads: listing, intake, labels and the demo collections."""
