"""Small systems without a simulator: formulas over batches of states, and the environments around them.

Every number of a system is a parameter that a context can set, and nothing that follows from parameters is
kept: a change of one can't leave another behind.
"""
