"""What the tests of the GPU simulation share: settings of tasks, states on the way, Gymnasium's steps."""

from __future__ import annotations

import functools

import numpy as np
import torch

from hyperrl.environments import make_env

NEEDS_WARP = "the extra is not installed: pip install -e '.[warp]'"

# Every keyword argument of every task at a value that is not its default, over the lists of each.
OTHER_SETTINGS = {
    "Ant-v5": [
        {
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.3,
            "contact_cost_weight": 1e-2,
            "main_body": 2,
            "frame_skip": 3,
            "exclude_current_positions_from_observation": False,
        },
        {"main_body": "torso", "include_cfrc_ext_in_observation": False, "healthy_z_range": (0.5, 0.7)},
        {"contact_force_range": [-0.1, 0.2], "healthy_reward": 0.7, "reset_noise_scale": 0.2},
        {"terminate_when_unhealthy": False, "healthy_z_range": (0.5, 0.7)},
    ],
    "HalfCheetah-v5": [
        {
            "forward_reward_weight": 0.7,
            "ctrl_cost_weight": 0.3,
            "reset_noise_scale": 0.0,
            "frame_skip": 2,
            "exclude_current_positions_from_observation": False,
        },
    ],
    "Hopper-v5": [
        {"healthy_state_range": (-3, 3), "healthy_angle_range": (-0.1, 0.1), "healthy_reward": 2},
        {
            "healthy_z_range": (0.7, 1.3),
            "terminate_when_unhealthy": False,
            "frame_skip": 7,
            "ctrl_cost_weight": 0.1,
            "forward_reward_weight": 0.3,
            "reset_noise_scale": 0.02,
            "exclude_current_positions_from_observation": False,
        },
    ],
    "InvertedDoublePendulum-v5": [{"healthy_reward": 3.5, "reset_noise_scale": 0.3, "frame_skip": 3}],
    "InvertedPendulum-v5": [{"reset_noise_scale": 0.1, "frame_skip": 4}],
    "Pusher-v5": [
        {
            "reward_near_weight": 0.3,
            "reward_dist_weight": 2.5,
            "reward_control_weight": 0.7,
            "frame_skip": 2,
        }
    ],
    "Reacher-v5": [{"reward_dist_weight": 0.3, "reward_control_weight": 2.5, "frame_skip": 3}],
    "Swimmer-v5": [
        {
            "forward_reward_weight": 3.1,
            "ctrl_cost_weight": 0.3,
            "reset_noise_scale": 0.5,
            "frame_skip": 2,
            "exclude_current_positions_from_observation": False,
        }
    ],
    "Walker2d-v5": [
        {"healthy_z_range": (1.1, 1.4), "healthy_angle_range": (-0.3, 0.3), "healthy_reward": 0.2},
        {
            "forward_reward_weight": 0.4,
            "ctrl_cost_weight": 0.2,
            "terminate_when_unhealthy": False,
            "reset_noise_scale": 0.1,
            "frame_skip": 2,
            "exclude_current_positions_from_observation": False,
        },
    ],
    "hyperrl/HumanoidNewton-v5": [
        {
            "include_cinert_in_observation": False,
            "include_cvel_in_observation": False,
            "forward_reward_weight": 0.6,
            "ctrl_cost_weight": 0.3,
            "frame_skip": 3,
        },
        {
            "include_qfrc_actuator_in_observation": False,
            "include_cfrc_ext_in_observation": False,
            "exclude_current_positions_from_observation": False,
            "healthy_z_range": (1.3, 1.5),
            "healthy_reward": 2.0,
            "reset_noise_scale": 0.1,
        },
        {
            "contact_cost_range": (0.1, 0.2),
            "contact_cost_weight": 1e-3,
            "terminate_when_unhealthy": False,
        },
    ],
}


@functools.cache
def states_on_the_way(env_id, count):
    """States of random play, some of them in contact: float32 positions and velocities."""
    env = make_env(env_id).unwrapped
    env.reset(seed=0)
    generator = np.random.default_rng(0)
    states, steps = [], 0
    while len(states) < count:
        steps += 1
        terminated = env.step(random_action(env, generator))[2]
        if steps % 7 == 0:
            states.append((env.data.qpos.copy(), env.data.qvel.copy()))
        if terminated or steps % 200 == 0:
            env.reset()
    positions, velocities = (np.array(part, np.float32) for part in zip(*states, strict=True))
    return positions, velocities


def random_action(env, generator, count=None):
    space = env.action_space
    size = space.shape if count is None else (count, *space.shape)
    return generator.uniform(space.low, space.high, size).astype(np.float32)


def gymnasium_step(env, positions, velocities, action):
    """First observation and one step of Gymnasium's environment from a state."""
    env = env.unwrapped
    env.reset()
    env.set_state(positions.astype(float), velocities.astype(float))
    first = env._get_obs()
    observation, reward, terminated, *_ = env.step(action)
    return first, observation, reward, terminated


def relative_error(found, expected):
    """The largest difference, relative to 1 or the number, whichever is larger."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    return float(np.max(np.abs(found - expected) / (1 + np.abs(expected)), initial=0.0))


def tensors(*arrays):
    return [torch.from_numpy(np.array(array)) for array in arrays]
