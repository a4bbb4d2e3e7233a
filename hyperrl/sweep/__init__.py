"""Many runs from one file: a grid of settings, a pool of processes here or on a Ray cluster, and a folder.

`hyperrl.sweep.plan` reads and checks the file, `hyperrl.sweep.control` does the runs.
"""
