"""The trainers of SAM's invertibility predictor and encoders."""
