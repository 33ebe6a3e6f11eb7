"""Batches as a pure function of (seed, step).

Training visits examples one after the other: visit v = step·B + j sees example π_e[v mod N], where e = v div
N is the epoch and π_e its seeded permutation. What an example's transform draws at random comes from
fold_in(key(seed), v). So a batch depends on nothing but (seed, step): resuming needs no iterator state, and
one device or many see the same examples.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.types import Batch, Key

Example = Any
Transform = Callable[[Key, Example], Example]

DEVICE_BYTES = 2**31  # larger sets stay on the host


@dataclass(frozen=True)
class Batches:
    """Serve a source in batches: shuffled for ever to train on, once in order to evaluate on.

    Attributes:
        source: a pytree of arrays [N, ...], or a random-access sequence (`len`, `[i]`) of examples.
        batch_size: B, examples in a batch.
        seed: of the permutations and of the transform's keys.
        transform: (key, example) -> example, applied to each example on the device inside the compiled step.
        gather: where rows are picked from arrays: on the "host" (one numpy index call), on the "device"
            (inside the compiled step, the arrays resident there), or "auto": the device, unless it is the
            CPU itself, where numpy is several times faster, or the arrays exceed 2 GiB.
    """

    source: Any
    batch_size: int
    seed: int = 0
    transform: Transform | None = None
    gather: Literal["auto", "host", "device"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int | np.integer) or self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; give 1 or more, a whole number")
        if not isinstance(self.seed, int | np.integer) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; give a whole number, 0 to {2**32 - 1}")
        if self.gather not in ("auto", "host", "device"):
            raise ValueError(f"gather is {self.gather!r}; choose auto, host or device")
        if not self._streams:
            _check_arrays(self.source)
        elif isinstance(self.source, Mapping) or not hasattr(self.source, "__getitem__"):
            kind = type(self.source).__name__
            raise ValueError(f"the source is a {kind} without arrays; give numpy arrays, or a sequence")
        if len(self) == 0:
            raise ValueError("the source is empty; give at least one example")

    @property
    def _streams(self) -> bool:
        """Whether examples are read one by one instead of gathered from arrays in memory."""
        return not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(self.source))

    def __len__(self) -> int:
        """Count the examples N."""
        return len(self.source) if self._streams else len(jax.tree.leaves(self.source)[0])

    @property
    def example(self) -> Example:
        """The first example, as the source holds it."""
        return self.source[0] if self._streams else jax.tree.map(lambda array: array[0], self.source)

    @property
    def held(self) -> dict[str, Any]:
        """The arrays of a batch whose values the host knows: those in memory that no transform changes.

        Returns:
            {name in the batch: array [N, ...]}; none of a source that is read example by example.
        """
        if self._streams:
            return {}
        held: dict[str, Any] = {}

        def trace(example: Example) -> None:
            batch = example if self.transform is None else self.transform(jax.random.key(0), example)
            arrays = dict(zip(map(id, jax.tree.leaves(example)), jax.tree.leaves(self.source), strict=True))
            if isinstance(batch, dict):
                held.update(
                    {name: np.asarray(arrays[id(leaf)]) for name, leaf in batch.items() if id(leaf) in arrays}
                )

        jax.eval_shape(trace, self.example)
        return held

    def batch_at(self, step: int) -> Batch:
        """Return the batch of a training step: the definition of this pipeline, one batch at a time."""
        return self.load(None, self._items(self._visits(step)))

    def items(self, start: int, num_steps: int, part: tuple[int, int] = (0, 1)) -> Any:
        """Return what `num_steps` steps from `start` on are fed: a pytree of numpy arrays [k, B, ...].

        Args:
            start: the first of them.
            num_steps: k.
            part: (i, n) picks the i-th of n equal parts of each batch, as one of n processes feeds it.
        """
        visits = np.stack([self._visits(step, part) for step in range(start, start + num_steps)])
        return self._items(visits, on_device=self.on_device)

    def stream(
        self, start: int, stop: int, pace: Callable[[], int], part: tuple[int, int] = (0, 1)
    ) -> Iterator[Any]:
        """Yield the items of one call after the other; a random-access source is read ahead by threads.

        Args:
            start: the first step.
            stop: the step before which to stop.
            pace: () -> k, steps of a call, asked before each.
            part: (i, n) picks the i-th of n equal parts of each batch.
        """
        if not self._streams:
            for first, last in calls(start, stop, pace):
                yield self.items(first, last - first, part)
            return
        import grain

        batches = iter(
            grain.MapDataset.range(start, stop)
            .map(lambda step: self._items(self._visits(step, part)))
            .to_iter_dataset(grain.ReadOptions(num_threads=8, prefetch_buffer_size=32))
        )
        for first, last in calls(start, stop, pace):
            chosen = [next(batches) for _ in range(first, last)]
            yield jax.tree.map(lambda *leaves: np.stack(leaves), *chosen)

    def once(self) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield (items [B, ...], mask [B]) in order, every example once; the last batch is padded, mask 0."""
        for start in range(0, len(self), self.batch_size):
            visits = np.arange(start, start + self.batch_size)
            mask = visits < len(self)
            index = np.where(mask, visits, 0)
            yield self._items(visits, index, on_device=self.on_device), mask.astype(np.float32)

    @property
    def on_device(self) -> bool:
        """Whether batches are gathered on the device."""
        if self._streams or self.gather == "host":
            return False
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(self.source))
        return self.gather == "device" or (jax.default_backend() != "cpu" and size <= DEVICE_BYTES)

    @property
    def resident(self) -> Any:
        """The arrays that the compiled step gathers from, or None when the host gathers."""
        return self.source if self.on_device else None

    def load(self, resident: Any, item: Any) -> Batch:
        """Turn one step's item into its batch, inside the compiled step: gather and transform.

        Args:
            resident: arrays [N, ...] on the device, or None when the item holds the examples.
            item: {"visit": [B], "index": [B] or "example": pytree of [B, ...]}.

        Returns:
            The batch, a pytree of arrays [B, ...].
        """
        if "example" in item:
            examples = jax.tree.map(jnp.asarray, item["example"])
        else:
            examples = jax.tree.map(lambda array: array[item["index"]], resident)
        if self.transform is None:
            return examples
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(self.seed), jnp.asarray(item["visit"]))
        return jax.vmap(self.transform)(keys, examples)

    def _visits(self, step: int, part: tuple[int, int] = (0, 1)) -> np.ndarray:
        index, count = part
        size = self.batch_size // count
        return step * self.batch_size + np.arange(index * size, (index + 1) * size)

    def _items(
        self, visits: np.ndarray, index: np.ndarray | None = None, on_device: bool = False
    ) -> dict[str, Any]:
        if index is None:
            index = self._shuffled(visits)
        visit = visits.astype(np.uint32)
        if on_device:
            return {"visit": visit, "index": index.astype(np.int32)}
        if self._streams:
            rows = [self.source[int(i)] for i in index.ravel()]
            examples = jax.tree.map(
                lambda *leaves: np.stack(leaves).reshape(*index.shape, *np.shape(leaves[0])), *rows
            )
        else:
            examples = jax.tree.map(lambda array: array[index], self.source)
        return {"visit": visit, "example": examples}

    def _shuffled(self, visits: np.ndarray) -> np.ndarray:
        epochs, positions = np.divmod(visits, len(self))
        index = np.empty_like(visits)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            index[chosen] = _permutation(self.seed, int(epoch), len(self))[positions[chosen]]
        return index


def calls(start: int, stop: int, pace: Callable[[], int]) -> Iterator[tuple[int, int]]:
    """Cut the steps from start to stop into calls (first, last + 1) that end at the multiples of k."""
    while start < stop:
        k = pace()
        end = min(start - start % k + k, stop)
        yield start, end
        start = end


def _check_arrays(source: Any) -> None:
    sizes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(source):
        name = jax.tree_util.keystr(path)
        if leaf.shape == () or getattr(leaf.dtype, "kind", "") in "OSUMm":  # objects, text, dates
            raise ValueError(
                f"source{name} is {leaf.dtype}{list(leaf.shape)}; give an array of numbers [N, ...]"
            )
        sizes[name] = len(leaf)
    if len(set(sizes.values())) > 1:
        raise ValueError(f"arrays of a source must have one length, not {sizes}")
    if not sizes:
        raise ValueError("the source holds no arrays; give at least one")


@lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
