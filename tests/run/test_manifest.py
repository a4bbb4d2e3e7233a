import os
import subprocess

import pytest

from hyperrl.run.manifest import git_commit, package_versions


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    (tmp_path / "a.txt").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    (tmp_path / "ignored").mkdir()
    return tmp_path, git("rev-parse", "HEAD")


def test_the_commit_of_a_clean_and_of_a_changed_checkout(checkout):
    folder, commit = checkout
    assert git_commit(folder) == commit
    (folder / "untracked.txt").write_text("1")
    assert git_commit(folder) == commit
    (folder / "a.txt").write_text("2")
    assert git_commit(folder) == f"{commit}-dirty"


def test_an_ignored_folder_has_no_commit(checkout):
    assert git_commit(checkout[0] / "ignored") is None


def test_no_checkout_and_no_git_have_no_commit(tmp_path, monkeypatch):
    assert git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    monkeypatch.setattr("hyperrl.run.manifest.PACKAGES", ("numpy", "no-such-package-at-all"))
    versions = package_versions()
    assert versions["no-such-package-at-all"] is None
    assert versions["numpy"][0].isdigit()
