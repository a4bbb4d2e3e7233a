"""Finding out, within seconds, whether there is a Ray cluster at an address.

Ray itself tries for minutes, and can end the process that asks. So another process asks.
"""

from __future__ import annotations

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import tempfile

from hyperrl.errors import ClusterError, ConfigError, MissingExtraError

_CONNECT_SECONDS = 3.0
_ASK_SECONDS = 12.0
_ASK = """
import logging, sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
    print("FOUND", ray.get_runtime_context().gcs_address)
except Exception as error:
    print("ERROR", " ".join(str(error).split()))
"""


def reach(address: str) -> str:
    """Refuse an address at which no Ray cluster answers; this takes 15 seconds at most.

    Args:
        address: "HOST:PORT", or "auto" for the cluster that this machine belongs to.

    Returns:
        The address as "HOST:PORT".

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: The address is none.
        ClusterError: Nothing answers there, or no cluster that can be used from here.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError(
            "the engine 'ray' needs Ray, which is not installed: pip install 'hyperrl[ray]'"
        )
    where = address
    if address == "auto":
        where = "this machine"
    else:
        _connect(address)
    answer = _ask(address)
    kind, _, text = answer.partition(" ")
    if kind == "FOUND":
        return text
    if address == "auto" and (not answer or "Could not find any running Ray instance" in text):
        raise ClusterError(
            "no Ray cluster is found from this machine: begin one with `ray start --head`, or give the "
            "--ray-address HOST:PORT of one that this machine belongs to"
        )
    reason = text or "it does not answer as one"
    raise ClusterError(f"there is no Ray cluster at {where} that can be used: {reason}")


def _connect(address: str) -> None:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})", address)
    if match is None or not 0 < int(match[2]) < 2**16:
        raise ConfigError(
            f"the address of a Ray cluster is HOST:PORT, for example 10.0.0.1:6379, or auto, got {address!r}"
        )
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ClusterError(
            f"nothing can be reached at {address}: {reason}; is the Ray cluster up?"
        ) from error


def _ask(address: str) -> str:
    """Return what another process finds, "" if it finds nothing in time."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _ASK, address],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(_ASK_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("FOUND", "ERROR"))), "")
