"""Measurements: gradient steps, contraction orders and learning curves, each with what is needed to repeat it."""
