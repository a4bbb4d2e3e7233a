import pytest

from hyperrl.environments import make_env
from hyperrl_envs.catalogue import TASKS
from hyperrl_envs.contextual.ids import CONTEXTUAL


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.env_id)
def test_the_sizes_are_those_of_the_environment(task):
    env = make_env(task.env_id, {"append": "flat"} if task.env_id in CONTEXTUAL else {})
    assert env.observation_space.shape == (task.observation_size,)
    assert env.action_space.shape == (task.action_size,)
    env.close()


def test_the_list_is_sorted_and_has_no_task_twice():
    ids = [task.env_id for task in TASKS]
    assert ids == sorted(set(ids))


def test_every_contextual_task_is_in_the_list():
    assert set(CONTEXTUAL) <= {task.env_id for task in TASKS}
