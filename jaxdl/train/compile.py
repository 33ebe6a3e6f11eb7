"""Compile a learner's step for the machine at hand.

| strategy | runs as                                           | batch statistics are those of |
|----------|---------------------------------------------------|-------------------------------|
| jit      | one device                                        | the whole batch               |
| shard    | one program, batch split over a mesh of devices   | the whole batch               |
| pmap     | one copy per device, gradients and state averaged | each device's part            |

The three give the same numbers, up to rounding, for losses that are means over examples. A net that wants the
statistics of the whole batch under pmap gives its BatchNorm `axis_name="batch"`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.types import Array, Metrics

Strategy = Literal["jit", "pmap", "shard"]
AXIS = "batch"
SMALL = 2**12  # arrays of fewer elements are replicated even when params are sharded


def compile_step(
    step: Callable[..., tuple[Any, Metrics]],
    *,
    strategy: Strategy = "jit",
    steps_per_call: int = 1,
    load: Callable[[Any, Any], Any] | None = None,
    shard_params: bool = False,
    devices: list[jax.Device] | None = None,
) -> Callable[..., tuple[Any, Metrics]]:
    """Compile `learner.step`; the state given to the result is donated.

    Args:
        step: (state, batch, *, axis_name=None) -> (state, metrics).
        strategy: jit, pmap or shard.
        steps_per_call: k steps run inside one `lax.scan`.
        load: (resident, item) -> batch, traced into the step: gathers and transforms what the host feeds.
        shard_params: under shard, split each large array of the state along its largest axis that divides
            (FSDP), instead of replicating it.
        devices: that pmap and shard run on; all local ones by default.

    Returns:
        run(state, items, resident=None) -> (state, metrics). Items are arrays [B, ...] with scalar metrics
        for k = 1, otherwise [k, B, ...] with metrics [k] (a shorter leading axis runs as many steps).

    Raises:
        ValueError: for an unknown strategy, k < 1, or a batch that does not divide over the devices.
    """
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy is {strategy!r}; choose jit, pmap or shard")
    if steps_per_call < 1:
        raise ValueError(f"steps_per_call is {steps_per_call}; give 1 or more")

    def one(state: Any, item: Any, resident: Any, axis_name: str | None = None) -> tuple[Any, Metrics]:
        batch = item if load is None else load(resident, item)
        return step(state, batch, axis_name=axis_name)

    def many(state: Any, items: Any, resident: Any, axis_name: str | None = None) -> tuple[Any, Metrics]:
        return jax.lax.scan(lambda state, item: one(state, item, resident, axis_name), state, items)

    body, axis = (one, 0) if steps_per_call == 1 else (many, 1)
    if strategy == "jit":
        compiled = jax.jit(body, donate_argnums=0)
        return lambda state, items, resident=None: compiled(state, items, resident)
    devices = jax.local_devices() if devices is None else devices
    make = _pmap if strategy == "pmap" else partial(_shard, shard_params=shard_params)
    return make(body, axis, devices)


def _pmap(body: Callable[..., Any], axis: int, devices: list[jax.Device]) -> Callable[..., Any]:
    compiled = jax.pmap(
        partial(body, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0, None),
        out_axes=None,
        devices=devices,
        donate_argnums=0,
    )

    def split(leaf: Any) -> Any:
        parts = leaf.reshape(*leaf.shape[:axis], len(devices), -1, *leaf.shape[axis + 1 :])
        return np.moveaxis(parts, axis, 0) if isinstance(leaf, np.ndarray) else jnp.moveaxis(parts, axis, 0)

    replicated = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), P())

    def run(state: Any, items: Any, resident: Any = None) -> tuple[Any, Metrics]:
        check_divides(items, axis, len(devices))
        state, resident = jax.device_put((state, resident), replicated)  # once: then they are there
        return compiled(state, jax.tree.map(split, items), resident)

    return run


def _shard(
    body: Callable[..., Any], axis: int, devices: list[jax.Device], shard_params: bool
) -> Callable[..., Any]:
    mesh = Mesh(np.asarray(devices), (AXIS,))
    replicated = NamedSharding(mesh, P())
    split = NamedSharding(mesh, P(*[None] * axis, AXIS))

    def place(state: Any) -> Any:
        return state_sharding(state, mesh, shard_params)

    @partial(jax.jit, donate_argnums=0)
    def compiled(state: Any, items: Any, resident: Any) -> tuple[Any, Metrics]:
        shardings = place(state)
        state, metrics = body(state, items, resident)
        return jax.lax.with_sharding_constraint(state, shardings), metrics

    def run(state: Any, items: Any, resident: Any = None) -> tuple[Any, Metrics]:
        check_divides(items, axis, len(devices))
        state = jax.device_put(state, place(state))
        return compiled(state, jax.device_put(items, split), jax.device_put(resident, replicated))

    return run


def state_sharding(state: Any, mesh: Mesh, shard_params: bool) -> Any:
    """Return the sharding of each array of a state: replicated, or split along its largest dividing axis."""

    def of(leaf: Array) -> NamedSharding:
        axes = [i for i, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if not shard_params or leaf.size < SMALL or not axes:
            return NamedSharding(mesh, P())
        largest = max(axes, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, P(*[None] * largest, AXIS))

    return jax.tree.map(of, state)


def check_divides(items: Any, axis: int, num_devices: int) -> None:
    """Raise a ValueError that says what would fit if a batch does not divide over the devices."""
    for leaf in jax.tree.leaves(items):
        size = leaf.shape[axis]
        if size % num_devices:
            below = size // num_devices * num_devices
            fit = f"{below} or {below + num_devices}" if below else f"{num_devices}"
            raise ValueError(f"a batch of {size} does not divide over {num_devices} devices; {fit} would")
