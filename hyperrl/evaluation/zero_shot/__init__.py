"""How good a policy is in contexts that it was not trained in.

Plan (a table of contexts and episodes), rollouts, table of episodes, statistics, report: each is a module of
its own, and all after the table of episodes is pure.
"""
