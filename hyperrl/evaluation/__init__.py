"""Measuring policies: rollouts, statistics, and the quality of a critic's gradients."""
