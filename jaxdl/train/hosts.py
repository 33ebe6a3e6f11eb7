"""Several processes that train one model: they connect, agree, watch one another, and stop together.

With one process every function here does nothing, or the obvious.
"""

import atexit
import hashlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.errors import InputError, Interrupted, RunError

DEAD_AFTER = 30  # seconds without a sign of life until a host counts as lost


def connect(coordinator: str, num_processes: int | None, process_index: int | None) -> None:
    """Join the processes of a run, before jax starts its backend.

    Args:
        coordinator: HOST:PORT where process 0 listens; "auto" asks the cluster (TPU, Slurm, Open MPI).
        num_processes: how many there are.
        process_index: which one this is, from 0.

    Raises:
        InputError: if a value is missing or out of range, or the processes do not find each other.
    """
    known: dict[str, Any] = {}
    if coordinator != "auto":
        host, colon, port = coordinator.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 2**16):
            raise InputError(f"coordinator is {coordinator!r}; give HOST:PORT of process 0, or auto")
        if num_processes is None or num_processes < 1:
            raise InputError(f"num_processes is {num_processes}; give 1 or more beside the coordinator")
        if process_index is None or not 0 <= process_index < num_processes:
            raise InputError(f"process_index is {process_index}; give 0 to {num_processes - 1}")
        os.environ["JAX_COORDINATOR_ADDRESS"] = coordinator
        known = {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_index,
            "cluster_detection_method": "deactivate",
        }
    # Otherwise jax's own answer to a lost process is to abort every other one, stack trace and all.
    jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(**known, heartbeat_timeout_seconds=DEAD_AFTER)
    except (RuntimeError, ValueError) as error:
        message = " ".join(str(error).split())[:300]
        raise InputError(f"the processes of this run did not find each other: {message}") from None
    if jax.process_count() > 1:
        the_watch()


def gather(values: Any) -> np.ndarray:
    """Return what every process gave, [num_processes, ...], the same in all."""
    if jax.process_count() == 1:
        return np.asarray(values)[None]
    return np.asarray(multihost_utils.process_allgather(np.asarray(values)))


def everywhere(ok: bool) -> bool:
    """Tell whether it holds in every process."""
    return bool(gather(np.int32(ok)).all())


@contextmanager
def agreement(config: Mapping[str, Any]) -> Iterator[None]:
    """Go on after a block only if every process got through it, with the same config.

    Raises:
        InputError: that of the block, or one that names the process that failed or differs.
    """
    failure = None
    try:
        yield
    except InputError as error:
        failure = error
    text = json.dumps(config, sort_keys=True, default=str)
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest()[:4], np.int32)[0]
    reports = gather(np.array([failure is not None, digest], np.int32))
    if failure is not None:
        raise failure
    for index, (failed, other) in enumerate(reports):
        if failed:
            raise InputError(f"process {index} refused what it was given; its own message says why")
        if other != reports[0, 1]:
            raise InputError(
                f"process {index} was started with other arguments than process 0; give the same"
            )


def votes(signals: list[int]) -> Callable[[], int]:
    """Return a function that tells of a signal that any process has caught, or 0.

    All processes get the same answer at the same call. It lags one call behind, so that nobody waits.
    """
    if jax.process_count() == 1:
        return lambda: signals[0] if signals else 0
    mesh = Mesh(_devices(), ("device",))
    split, replicated = NamedSharding(mesh, P("device")), NamedSharding(mesh, P())
    largest = jax.jit(jnp.max, out_shardings=replicated)
    pending: list[Any] = []

    def vote() -> int:
        own = np.full(jax.local_device_count(), signals[0] if signals else 0, np.int32)
        pending.append(largest(jax.make_array_from_process_local_data(split, own)))
        return int(pending.pop(0)) if len(pending) > 1 else 0

    return vote


@contextmanager
def watched(describe: Callable[[], str]) -> Iterator[None]:
    """End this process with one clear line when another one of the run is lost.

    Args:
        describe: tells what can be gone on from.
    """
    if jax.process_count() == 1:
        yield
        return
    watch = the_watch()
    watch.begin(describe)
    try:
        yield
    except (InputError, Interrupted, RunError):
        watch.end()  # all processes come to the same conclusion
        raise
    except jax.errors.JaxRuntimeError:
        time.sleep(5)  # most likely it says that a process is lost: let the watch name it
        watch.part()
        raise
    except BaseException:
        watch.part()
        raise
    watch.end()


@cache
def the_watch() -> "Watch":
    """Return the watch of this process, which lasts as long as the process."""
    return Watch(_links())


class Watch:
    """Keep a connection between process 0 and each of the others, to know when one is lost.

    Without it, a process would wait in a collective operation for an answer that never comes. The kernel
    closes a connection at once when a process dies, and keep-alive probes find a host that fell silent. Each
    process says when it begins what needs the others, and when it ends it: from then on it may go.
    """

    def __init__(self, links: Mapping[int, socket.socket]) -> None:
        self._links, self._ended = links, False
        self._describe: Callable[[], str] = lambda: "nothing was trained"
        self._listeners = [
            threading.Thread(target=self._listen, args=(index, link), daemon=True)
            for index, link in links.items()
        ]
        for listener in self._listeners:
            listener.start()
        atexit.register(self._leave)

    def begin(self, describe: Callable[[], str]) -> None:
        """Say that this process needs all others."""
        self._describe, self._ended = describe, False
        self._say("begin")

    def end(self) -> None:
        """Say that this process needs the others no more, nor they it."""
        self._ended = True
        self._say("end")

    def part(self) -> None:
        """Cut the connections: the others are to know that this process fails."""
        self._ended = True
        for link in self._links.values():
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _leave(self) -> None:
        """Before the process exits: process 0 holds jax's coordinator, so it goes last."""
        if not self._ended:
            self.part()
        elif jax.process_index() == 0:
            for listener in self._listeners:
                listener.join(2 * DEAD_AFTER)

    def _say(self, line: str) -> None:
        for link in self._links.values():
            with suppress(OSError):
                link.sendall(f"{line}\n".encode())

    def _listen(self, index: int, link: socket.socket) -> None:
        line = last = ""
        with suppress(OSError), link.makefile() as lines:
            for line in lines:
                last = line.strip()
                if last not in ("begin", "end"):
                    break
        if last == "end" or self._ended:
            return
        message = f"process {index} has gone" if last in ("", "begin") else last
        self._say(message)  # process 0 tells the rest
        again = "start every process again with the same command"
        print(f"jaxdl: {message}; {self._describe()}; {again}", file=sys.stderr, flush=True)
        os._exit(1)  # the main thread hangs where no exception reaches it


def _links() -> dict[int, socket.socket]:
    """Connect process 0 with each of the others: {process index: socket}."""
    index, count = jax.process_index(), jax.process_count()
    server = token = None
    address = b""
    if index == 0:
        coordinator = os.environ.get("JAX_COORDINATOR_ADDRESS", "")
        host = coordinator.rpartition(":")[0] or socket.gethostname()
        server, token = socket.create_server(("", 0), backlog=count), secrets.token_hex(16)
        address = f"{host} {server.getsockname()[1]} {token}".encode()
    padded = np.frombuffer(address.ljust(512), np.uint8)
    host, port, token = bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))).decode().split()
    if server is None:
        try:
            link = socket.create_connection((host, int(port)), timeout=DEAD_AFTER)
        except OSError as error:
            raise InputError(f"process {index} cannot reach process 0 at {host}:{port}: {error}") from None
        link.sendall(f"{token} {index:6}".encode())
        links = {0: link}
    else:
        links = {}
        server.settimeout(DEAD_AFTER)
        with server:
            while len(links) < count - 1:
                link, _ = server.accept()
                said, _, who = link.recv(len(token) + 7, socket.MSG_WAITALL).decode().partition(" ")
                if secrets.compare_digest(said, token):
                    links[int(who)] = link
    for link in links.values():
        link.settimeout(None)
        _keep_alive(link)
    return links


def _keep_alive(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", DEAD_AFTER // 3),
        ("TCP_KEEPINTVL", DEAD_AFTER // 6),
        ("TCP_KEEPCNT", 4),
    ):
        if hasattr(socket, name):  # systems name these differently
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _devices() -> np.ndarray:
    """All devices of the run, those of each process side by side."""
    return np.asarray(sorted(jax.devices(), key=lambda device: (device.process_index, device.id)))
