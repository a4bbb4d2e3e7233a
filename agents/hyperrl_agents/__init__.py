"""The agents of hyperrl, one folder each; `hyperrl.registry.agents` finds them by name."""
