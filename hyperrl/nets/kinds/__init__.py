"""Kinds of hypernetwork head: features in, generated weights out. One kind per file."""
