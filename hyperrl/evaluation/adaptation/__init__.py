"""How fast agents adapt to tasks that they were not trained on.

Plan (tasks, episodes of data, evaluations in between), playing, table of episodes, statistics, report: each
is a module of its own, and all after the table of episodes is pure.
"""
