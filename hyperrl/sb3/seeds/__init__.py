"""Several seeds of an off-policy agent trained at once: `SeedStack`."""

from hyperrl.sb3.seeds.parts import seed_environments
from hyperrl.sb3.seeds.stack import SeedStack

__all__ = ["SeedStack", "seed_environments"]
