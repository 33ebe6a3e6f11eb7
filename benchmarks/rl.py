"""Reinforcement learning beside stable-baselines3, many seeds beside one, and the wait for a return of 475.

    pip install -e ".[bench,rl]" && python benchmarks/rl.py [speed] [seeds] [start]

speed: environment steps per CPU-second on one core on CartPole, both sides with the same hyper-parameters
    (nets, batches, gradient steps, environments): DQN and PPO with the defaults of stable-baselines3, PPO
    with those of CleanRL and of rl-baselines3-zoo as well, and with those of CleanRL in gymnasium's CartPole,
    which both sides then call on the host. The sides run in turns.
seeds: wall time of 16 seeds under `jax.vmap` over that of one; their keys laid over all devices, which
    XLA_FLAGS=--xla_force_host_platform_device_count=2 makes of two cores.
start: wall seconds from the command `jaxdl train configs/ppo_cartpole.py` to the first evaluation of 475,
    import and start-up included; first with an empty compilation cache, then with a warm one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import metadata
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl import optim
from jaxdl.nets.policy import ActionValues, CategoricalPolicy, StateValue
from jaxdl.rl import Schedule, actor_critic, dqn, from_gymnasium, from_gymnax, ppo
from jaxdl.train import Options

ROOT = Path(__file__).parents[1]
CLEANRL = "PPO, of CleanRL"
PPO = {  # learning rate, environments N, steps T, epochs, minibatches, γ, λ
    "PPO, defaults of stable-baselines3": (3e-4, 1, 2_048, 10, 32, 0.99, 0.95),
    CLEANRL: (2.5e-4, 4, 128, 4, 4, 0.99, 0.95),
    "PPO, of rl-baselines3-zoo": (1e-3, 8, 32, 20, 1, 0.98, 0.8),
}
DQN = Schedule(num_envs=1, collect=4, updates=1, batch_size=32, capacity=100_000, warmup=100)


def ppo_learner(rate, num_envs, num_steps, epochs, minibatches, discount, lambda_, make=from_gymnax):
    nets = CategoricalPolicy(2, (64, 64)), StateValue((64, 64))
    sizes = {"num_envs": num_envs, "num_steps": num_steps, "epochs": epochs, "minibatches": minibatches}
    keywords = {"discount": discount, "lambda_": lambda_, "options": Options(clip_norm=0.5)}
    learner = ppo(make("CartPole-v1"), *nets, optim.adam(rate), **sizes, **keywords)
    return learner, num_envs * num_steps


def dqn_learner():
    keywords = {"epsilon": lambda step: 0.05, "target_every": 2_500, "schedule": DQN}
    optimizer, clip = optim.adam(1e-4), Options(clip_norm=10.0)
    return dqn(from_gymnax("CartPole-v1"), ActionValues(2, (64, 64)), optimizer, **keywords, options=clip), 4


def a2c_learner():
    nets = CategoricalPolicy(2, (64, 64)), StateValue((64, 64))
    return actor_critic(from_gymnax("CartPole-v1"), *nets, optim.rmsprop(7e-4), num_envs=8, num_steps=5), 40


def compiled(learner, calls, num_seeds=0):
    """A state, and `calls` steps as one program: of one run, or of several seeds at once."""
    key, step = jax.random.key(0), lambda state: learner.step(state, None)[0]
    if num_seeds:
        over = NamedSharding(Mesh(jax.devices(), "seeds"), PartitionSpec("seeds"))
        key, step = jax.device_put(jax.random.split(key, num_seeds), over), jax.vmap(step)
    init = jax.vmap(lambda key: learner.init(key, None)) if num_seeds else lambda key: learner.init(key, None)
    run = jax.jit(lambda state: jax.lax.fori_loop(0, calls, lambda _, s: step(s), state), donate_argnums=0)
    return jax.block_until_ready(
        run(run(jax.jit(init)(key)))
    ), run  # twice: the layout of a result may differ


def jaxdl_side(make, env_steps):
    learner, each = make()
    state, run = compiled(learner, env_steps // each)

    def window():
        nonlocal state
        state = jax.block_until_ready(run(state))

    return window


def baselines_side(how, env_steps):
    import torch
    from stable_baselines3 import DQN as TorchDQN
    from stable_baselines3 import PPO as TorchPPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    if how:
        rate, num_envs, num_steps, epochs, minibatches, discount, lambda_ = how
        model = TorchPPO(
            "MlpPolicy", make_vec_env("CartPole-v1", num_envs), n_steps=num_steps, n_epochs=epochs,
            batch_size=num_envs * num_steps // minibatches, gamma=discount, gae_lambda=lambda_,
            learning_rate=rate, ent_coef=0.0, device="cpu",
        )  # fmt: skip
    else:
        model = TorchDQN(
            "MlpPolicy", "CartPole-v1", buffer_size=100_000, exploration_initial_eps=0.05, device="cpu"
        )
    model.learn(2_048)
    return lambda: model.learn(env_steps, reset_num_timesteps=False)


def cpu_seconds(window):
    began = time.process_time()
    window()
    return time.process_time() - began


def speed(repeats):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"stable-baselines3 {metadata.version('stable-baselines3')}, torch {metadata.version('torch')}")
    print("environment steps per CPU-second on one core, median (lowest to highest)")
    cleanrl, peer_steps = PPO[CLEANRL], 4_096
    on_the_host = partial(ppo_learner, *cleanrl, make=from_gymnasium)
    for name, how, make, own_steps in (
        *((name, how, partial(ppo_learner, *how), 65_536) for name, how in PPO.items()),
        (f"{CLEANRL}, in gymnasium's CartPole", cleanrl, on_the_host, 8_192),
        ("DQN", None, dqn_learner, 32_768),
    ):
        peer, own = baselines_side(how, peer_steps), jaxdl_side(make, own_steps)
        rates = [(peer_steps / cpu_seconds(peer), own_steps / cpu_seconds(own)) for _ in range(repeats)]
        ratios = [b / a for a, b in rates]
        middle = [statistics.median(side) for side in zip(*rates, strict=True)]
        print(
            f"{name}: stable-baselines3 {middle[0]:,.0f}, jaxdl {middle[1]:,.0f}, "
            f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        )


def seeds(repeats):
    print(
        f"wall time of 16 seeds at once over that of one, {jax.device_count()} devices, median (low to high)"
    )
    for name, make, env_steps in (
        *((name, partial(ppo_learner, *how), 10_240) for name, how in PPO.items()),
        ("DQN", dqn_learner, 40),
        ("A2C", a2c_learner, 8_000),
    ):
        learner, each = make()
        calls = env_steps // each
        (one, run), (many, run_many) = compiled(learner, calls), compiled(learner, calls, 16)
        ratios = []
        for _ in range(repeats):
            began = time.perf_counter()
            one = jax.block_until_ready(run(one))
            middle = time.perf_counter()
            many = jax.block_until_ready(run_many(many))
            ratios.append((time.perf_counter() - middle) / (middle - began))
        print(f"{name}: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def start(repeats):
    print("wall seconds from the command to the first evaluation of 475 or more")
    with tempfile.TemporaryDirectory() as folder:
        for index in range(repeats + 1):
            workdir = Path(folder, str(index))
            command = [
                sys.executable,
                "-m",
                "jaxdl",
                "train",
                str(ROOT / "configs" / "ppo_cartpole.py"),
                "--quiet",
            ]
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/programs"}
            began = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--workdir", str(workdir)], env=environment, stdout=subprocess.DEVNULL
            )
            reached = None
            while process.poll() is None:
                reached = reached or (time.perf_counter() - began if best(workdir) >= 475 else None)
                time.sleep(0.02)
            total = time.perf_counter() - began
            said = "never" if reached is None else f"{reached:.1f}"
            print(f"{'warm' if index else 'empty'} cache: {said} s, {total:.1f} s to the end of the command")


def best(workdir):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return max((row["return"] for row in rows if "return" in row), default=0)


def main():
    parts = {"start": start, "seeds": seeds, "speed": speed}  # speed last: it keeps to one core
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *parts])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(f"jax {jax.__version__}, {os.cpu_count()} cores")
    for name, part in parts.items():
        if name in given.parts or not given.parts:
            part(given.repeats)


if __name__ == "__main__":
    main()
