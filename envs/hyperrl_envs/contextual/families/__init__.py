"""The families of HyperZero: three robots of the DeepMind Control Suite's kind, in files of our own.

Rezaei-Shoshtari et al., "Hypernetworks for Zero-Shot Transfer in Reinforcement Learning" (AAAI 2023), train
on tasks that differ in a signed target speed and in the length of one link. Each module here has one robot:

- `tasks`: what they have in common, and how speeds are rewarded,
- `cheetah`, `walker`, `finger`: observation, reward and starts, and what a length changes,
- `envs`: the Gymnasium environments around them.
"""
