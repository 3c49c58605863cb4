"""Trainers on labelled portraits: classifier, face parser, landmark regressor."""
