"""The task distributions on which meta-learning agents are compared, as contextual environments.

They are those of MAML (Finn et al., ICML 2017), PEARL (Rakelly et al., ICML 2019), HypeRL (Sarafian et al.,
ICML 2021) and Beck et al. (CoRL 2022):

- `navigation`: a point in the plane that moves to a goal;
- `cheetah`: HalfCheetah to run in a direction or at a velocity;
- `walkers`, `rewards`, `goals`: Ant and Humanoid to go in a direction, at a velocity or to a place;
- `rand_params`: Walker2d and Hopper whose bodies differ part by part.

A task is a context, and the context is all of the task: ranges are declared, nothing is normalised by what
happened to be drawn, and no part of a goal is left out.
"""
