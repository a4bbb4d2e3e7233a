"""Measurements: gradient steps, contraction orders and learning curves, with what it takes to repeat them."""
