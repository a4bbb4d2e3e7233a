"""A quadrotor: a Crazyflie 2.1 in MuJoCo that hovers or follows a trajectory, `hyperrl/Quadrotor-v0`.

- `crazyflie.xml`: the robot, with where each number was published,
- `task`: observation, reward, ends and starts of episodes,
- `trajectory`: where the setpoint is,
- `robot`: domain randomisation,
- `env`: the Gymnasium environment; `hyperrl_envs.native` steps many together.
"""
