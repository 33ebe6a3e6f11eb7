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
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, Sharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from jaxdl.types import Array, Metrics

Strategy = Literal["jit", "pmap", "shard"]
AXIS = "batch"
SMALL = 2**12  # arrays of fewer elements are replicated even when params are sharded


class Layout(NamedTuple):
    """Say where the arrays of a run live: on one device, or over a mesh of them.

    Attributes:
        strategy: jit, pmap or shard.
        mesh: the devices of pmap and shard; those of every process under shard.
        shard_params: under shard, split each large array of the state along its largest axis that divides
            (FSDP), instead of replicating it.
    """

    strategy: Strategy = "jit"
    mesh: Mesh | None = None
    shard_params: bool = False

    def state(self, state: Any) -> Any:
        """Return the sharding of each array of a state: replicated, or split along one axis."""

        def of(leaf: Array) -> Sharding:
            if self.mesh is None:
                return SingleDeviceSharding(jax.local_devices()[0])
            axes = [i for i, size in enumerate(leaf.shape) if size % self.mesh.size == 0]
            if not self.shard_params or leaf.size < SMALL or not axes:
                return NamedSharding(self.mesh, P())
            largest = max(axes, key=lambda i: leaf.shape[i])
            return NamedSharding(self.mesh, P(*[None] * largest, AXIS))

        return jax.tree.map(of, state)

    def resident(self, arrays: Any) -> Any:
        """Put arrays that every process holds on every device."""
        return jax.device_put(arrays) if self.mesh is None else self._put(arrays, P())

    def part(self, items: Any, axis: int) -> Any:
        """Put this process's part of a batch on its devices, split along an axis that counts examples."""
        if self.mesh is None:
            return items
        whole = P(), P(*[None] * axis, AXIS)  # what has no such axis, as the number of a step, goes to all
        return jax.tree.map(lambda leaf: self._put(leaf, whole[np.ndim(leaf) > axis]), items)

    def whole(self, items: Any) -> Any:
        """Put a batch that every process holds in whole, split along its first axis where that divides."""
        mesh = self.mesh
        if mesh is None:
            return items

        def put(leaf: Any) -> Array:
            splits = np.ndim(leaf) and len(leaf) % mesh.size == 0
            sharding = NamedSharding(mesh, P(AXIS) if splits else P())
            return jax.make_array_from_callback(np.shape(leaf), sharding, lambda index: leaf[index])

        return jax.tree.map(put, items)

    def local(self, tree: Any) -> Any:
        """Return a copy on this process's first device, for what one process does alone."""
        if self.mesh is None:
            return tree
        replicate = jax.jit(lambda tree: tree, out_shardings=NamedSharding(self.mesh, P()))
        return jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, replicate(tree))

    def _put(self, arrays: Any, spec: P) -> Any:
        assert self.mesh is not None
        sharding = NamedSharding(self.mesh, spec)
        if jax.process_count() == 1:
            return jax.device_put(arrays, sharding)
        put = partial(jax.make_array_from_process_local_data, sharding)
        return jax.tree.map(
            lambda leaf: leaf if isinstance(leaf, jax.Array) else put(np.asarray(leaf)), arrays
        )


def layout(strategy: Strategy, shard_params: bool = False, devices: list[jax.Device] | None = None) -> Layout:
    """Lay a run out over devices: one under jit, this process's own under pmap, those of all under shard.

    Raises:
        ValueError: for an unknown strategy, or one that cannot do what is asked.
    """
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy is {strategy!r}; choose jit, pmap or shard")
    if jax.process_count() > 1 and strategy != "shard":
        raise ValueError(f"strategy is {strategy!r} with {jax.process_count()} processes; choose shard")
    if shard_params and strategy != "shard":
        raise ValueError(f"shard_params splits nothing under strategy {strategy!r}; choose shard")
    if strategy == "jit":
        return Layout()
    if devices is None:
        devices = jax.local_devices() if strategy == "pmap" else jax.devices()
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Layout(strategy, Mesh(np.asarray(ordered), (AXIS,)), shard_params)


def compile_step(
    step: Callable[..., tuple[Any, Metrics]],
    layout: Layout = Layout(),
    *,
    steps_per_call: int = 1,
    load: Callable[[Any, Any], Any] | None = None,
) -> Callable[..., tuple[Any, Metrics]]:
    """Compile `learner.step`; the state given to the result is donated.

    Args:
        step: (state, batch, *, axis_name=None) -> (state, metrics).
        layout: where it runs.
        steps_per_call: k steps run inside one `lax.scan`.
        load: (resident, item) -> batch, traced into the step: gathers and transforms what the host feeds.

    Returns:
        run(state, items, resident=None) -> (state, metrics). Items are arrays [B, ...] with scalar metrics
        for k = 1, otherwise [k, B, ...] with metrics [k] (a shorter leading axis runs as many steps); with
        several processes, B counts the examples of this process's part.

    Raises:
        ValueError: for k < 1, or a batch that does not divide over the devices.
    """
    if steps_per_call < 1:
        raise ValueError(f"steps_per_call is {steps_per_call}; give 1 or more")

    def one(state: Any, item: Any, resident: Any, axis_name: str | None = None) -> tuple[Any, Metrics]:
        batch = item if load is None else load(resident, item)
        return step(state, batch, axis_name=axis_name)

    def many(state: Any, items: Any, resident: Any, axis_name: str | None = None) -> tuple[Any, Metrics]:
        return jax.lax.scan(lambda state, item: one(state, item, resident, axis_name), state, items)

    body, axis = (one, 0) if steps_per_call == 1 else (many, 1)
    if layout.mesh is None:
        compiled = jax.jit(body, donate_argnums=0)
        return lambda state, items, resident=None: compiled(state, items, resident)
    return (_pmap if layout.strategy == "pmap" else _shard)(body, axis, layout)


def _pmap(body: Callable[..., Any], axis: int, layout: Layout) -> Callable[..., Any]:
    assert layout.mesh is not None
    devices = list(layout.mesh.devices)
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

    def run(state: Any, items: Any, resident: Any = None) -> tuple[Any, Metrics]:
        check_divides(items, axis, len(devices))
        state = jax.device_put(state, layout.state(state))  # where it is already, after the first call
        return compiled(state, jax.tree.map(split, items), layout.resident(resident))

    return run


def _shard(body: Callable[..., Any], axis: int, layout: Layout) -> Callable[..., Any]:
    assert layout.mesh is not None
    num_devices = len(layout.mesh.local_devices)

    @partial(jax.jit, donate_argnums=0)
    def compiled(state: Any, items: Any, resident: Any) -> tuple[Any, Metrics]:
        shardings = layout.state(state)
        state, metrics = body(state, items, resident)
        return jax.lax.with_sharding_constraint(state, shardings), metrics

    def run(state: Any, items: Any, resident: Any = None) -> tuple[Any, Metrics]:
        check_divides(items, axis, num_devices)
        state = jax.device_put(state, layout.state(state))  # where it is already, after the first call
        return compiled(state, layout.part(items, axis), layout.resident(resident))

    return run


def check_divides(items: Any, axis: int, num_devices: int) -> None:
    """Raise a ValueError that says what would fit if a batch does not divide over the devices."""
    for leaf in jax.tree.leaves(items):
        if np.ndim(leaf) <= axis:
            continue  # the number of a step, for a learner that draws its own experience
        size = leaf.shape[axis]
        if size % num_devices:
            below = size // num_devices * num_devices
            fit = f"{below} or {below + num_devices}" if below else f"{num_devices}"
            raise ValueError(f"a batch of {size} does not divide over {num_devices} devices; {fit} would")
