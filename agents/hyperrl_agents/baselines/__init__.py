"""Stable-Baselines3's own algorithms under names of our command line, with policies that refuse NaN."""
