"""Learning to learn: tasks of a family, whole episodes of them, adaptation to tasks never seen."""
