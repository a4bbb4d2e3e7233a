"""The environments of hyperrl and what the library needs to know about Gymnasium's MuJoCo tasks."""
