"""One environment in a process of its own: what runs there, and the handle on it.

What a worker process imports lives here, apart from `hyperrl.sb3`: it needs NumPy and Gymnasium, and neither
torch nor Stable-Baselines3, which take seconds to load.
"""
