"""Training steps a second of RealNVP beside flowjax: the same couplings, conditioners, batch and Adam.

    pip install -e ".[bench]" && python benchmarks/flows.py [--repeats 9] [--out FLOWS.md]

The workload is the `realnvp` of speed.py. flowjax trains its `coupling_flow` by the step that `fit_to_data`
takes for a batch (without its shuffles, key splits and validation), or, in its fastest form, by a `lax.scan`
of that step over k batches, the state donated. A step of jaxdl is what `jaxdl train` runs, metrics and the
guard against non-finite numbers included. The sides take turns, each window counted by the clock and by CPU
time, which says more on a busy machine. The table gives medians, and the ratio of the faster form of jaxdl to
the faster of flowjax in the same turn, with the lowest and the highest.
"""

import argparse
import statistics
import time
from datetime import date
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from results import machine
from speed import jaxdl_side, rate, workloads

TARGET = 1.3  # times flowjax


def flowjax_model(sizes):
    """Return the params of flowjax's flow as `fit_to_data` parts them, and the rest."""
    import equinox as eqx
    import paramax
    from flowjax.distributions import StandardNormal
    from flowjax.flows import coupling_flow

    how = {"flow_layers": sizes["layers"], "nn_width": sizes["width"], "nn_depth": 2}
    net = coupling_flow(jax.random.key(0), base_dist=StandardNormal((2,)), **how)
    fixed = lambda leaf: isinstance(leaf, paramax.NonTrainable)
    return eqx.partition(net, eqx.is_inexact_array, is_leaf=fixed)


def flowjax_side(sizes, x, k):
    """Return a call that takes k steps, and one that waits for them."""
    from flowjax.train import step
    from flowjax.train.losses import MaximumLikelihoodLoss

    params, static = flowjax_model(sizes)
    optimizer, loss = optax.adam(1e-3), MaximumLikelihoodLoss()
    state, x = (params, optimizer.init(params)), jnp.asarray(x)

    def one(state, x):
        params, opt_state = state
        keywords = {"optimizer": optimizer, "opt_state": opt_state, "loss_fn": loss}
        params, opt_state, value = step(params, static, x, **keywords)
        return (params, opt_state), value

    many = jax.jit(lambda state, xs: jax.lax.scan(one, state, xs), donate_argnums=0)
    run, given = (one, x) if k == 1 else (many, jnp.stack([x] * k))

    def call():
        nonlocal state
        state, _ = run(state, given)

    return call, lambda: jax.block_until_ready(state)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--steps-per-call", type=int, default=16, help="k")
    parser.add_argument("--alone", action="store_true", help="jaxdl only")
    parser.add_argument("--small", action="store_true", help="a tiny batch, to try the script")
    parser.add_argument("--out", help="a file to write the table to")
    options = parser.parse_args()
    k = options.steps_per_call
    learner, batch, sizes = workloads(options.small, bf16=False)["realnvp"]
    forms = {"": 1, ", k steps a call": k}
    sides = {f"jaxdl{form}": (*jaxdl_side(learner, batch, n), n) for form, n in forms.items()}
    trained = {"jaxdl": jax.eval_shape(learner.init, jax.random.key(0), batch).params}
    if not options.alone:
        try:
            trained["flowjax"] = flowjax_model(sizes)[0]
        except ImportError as error:
            parser.error(f'there is no {error.name}: pip install -e ".[bench]", or give --alone')
        sides |= {f"flowjax{form}": (*flowjax_side(sizes, batch["x"], n), n) for form, n in forms.items()}
    for side in 2 * list(sides.values()):  # twice: the layout of a result may differ
        rate(*side, 0)
    turns = {unit: [{} for _ in range(options.repeats)] for unit in ("s", "CPU-second")}
    for index in range(options.repeats):
        for side, how in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            turns["s"][index][side] = steps = rate(*how, options.seconds)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            turns["CPU-second"][index][side] = steps * wall / cpu
            time.sleep(0.1 * options.seconds)  # threads of the one side spin for a while when it is done

    packages = ("jax", "flax", "flowjax")[: 2 + (not options.alone)]
    versions = " ".join(f"{name} {metadata.version(name)}" for name in packages)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    params = ", ".join(f"{who} {count(tree):,}" for who, tree in trained.items())
    lines = [f"{machine()}, {versions}, {date.today()}; params: {params}; k = {k}", ""]
    lines += [f"| realnvp | {' | '.join(sides)} | ratio | target |", f"|---|{'---|' * (len(sides) + 2)}"]
    best = lambda turn, who: max(value for side, value in turn.items() if side.startswith(who))
    for unit, each in turns.items():
        rates = " | ".join(f"{statistics.median(turn[side] for turn in each):.3g}" for side in sides)
        ratios = [] if options.alone else [best(turn, "jaxdl") / best(turn, "flowjax") for turn in each]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "–"
        lines.append(f"| steps/{unit} | {rates} | {ratio} | {TARGET} |")
    print("\n".join(lines))
    if options.out:
        Path(options.out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
