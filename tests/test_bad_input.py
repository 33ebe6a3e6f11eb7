"""Bad input: one line says what is wrong, before anything is compiled, and no file is touched.

Each case prepares a folder, and gives a command line to run in it or a function to call.
"""

import fcntl
import json
import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import save

from jaxdl import cli, config, optim
from jaxdl.data import Batches, windows
from jaxdl.errors import InputError, RunError
from jaxdl.learners import classifier, language_model, vae
from jaxdl.nets.mlp import MLP
from jaxdl.nets.vae import BernoulliDecoder, Encoder
from jaxdl.train import Experiment, Options, Player, fit, gradient_learner
from jaxdl.train.experiment import SPLITS, check_experiment
from jaxdl.train.pictures import save_all
from jaxdl.types import Learner

CONFIGS = Path(__file__).parent.parent / "configs"
COMPILED: list[str] = []  # one entry per program that XLA compiles, or reads from the cache of compiled ones


@jax.monitoring.register_event_duration_secs_listener
def listen(event, duration, **details):
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(event)


class Place(NamedTuple):
    """Where a case happens: an empty folder, and a finished run to copy from."""

    folder: Path
    finished: Path

    def write(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def run(self) -> Path:
        """Copy the finished run, and the config that made it."""
        shutil.copy(self.finished / "linear.py", self.folder)
        path = self.folder / "run"
        shutil.copytree(self.finished / "run", path)
        made(config=str(self.folder / "linear.py"))(path)
        return path


class Case(NamedTuple):
    """A name, what prepares the place and returns the command line or the function, and what is said."""

    name: str
    prepare: Callable[[Place], list[str] | Callable[[], Any]]
    message: str  # a regular expression


def option(name: str, text: str, message: str) -> Case:
    """Give the config of that name these options."""
    return Case(f"{name} {text}", lambda at: ["train", str(CONFIGS / f"{name}.py"), *text.split()], message)


ABOVE_0, FINITE = "give a number above 0", "give a finite number"
SHARE = "give a number of at least 0 and below 1"
OPTIONS = {
    "mlp_digits": [
        ("--hiden 3", "unrecognized arguments: --hiden 3"),
        ("--epoch 3", "unrecognized arguments: --epoch 3"),  # no abbreviations
        ("surplus", "unrecognized arguments: surplus"),
        ("--epochs x", "argument --epochs: invalid int value: 'x'"),
        ("--epochs 1.5", "argument --epochs: invalid int value: '1.5'"),
        ("--dropout much", "argument --dropout: invalid float value: 'much'"),
        ("--hidden", "argument --hidden: expected at least one argument"),
        ("--hidden 8 wide", "argument --hidden: invalid int value: 'wide'"),
        ("--bf16 yes", "unrecognized arguments: yes"),
        ("--strategy gpu", "invalid choice: 'gpu'"),
        ("--platform abacus", "invalid choice: 'abacus'"),
        ("--on-nonfinite ignore", "invalid choice: 'ignore'"),
        ("--patience 0", "--patience: '0' is not 1 or more; give a whole number"),
        ("--patience soon", "--patience: 'soon' is not 1 or more"),
        ("--steps-per-call -2", "--steps-per-call: '-2' is not 1 or more"),
        ("--cpu-devices 0", "--cpu-devices: '0' is not 1 or more"),
        ("--cpu-devices 1.5", "--cpu-devices: '1.5' is not 1 or more"),
        ("--memory-fraction 7", "--memory-fraction: '7' is no share; give a number above 0, at most 1"),
        ("--memory-fraction 0", "'0' is no share"),
        ("--memory-fraction nan", "'nan' is no share"),
        ("--memory-fraction half", "'half' is no share"),
        ("--num-processes 2", "num_processes is 2 without a coordinator; give --coordinator HOST:PORT or"),
        ("--process-index 1", "process_index is 1 without a coordinator; give --coordinator"),
        ("--shard-params", "shard_params splits nothing under strategy 'jit'; choose shard"),
        ("--hidden 0", f"hidden is 0; {ABOVE_0}"),
        ("--hidden 8 -8", f"hidden is -8; {ABOVE_0}"),
        ("--batch-size 0", f"batch_size is 0; {ABOVE_0}"),
        ("--epochs 0", f"epochs is 0; {ABOVE_0}"),
        ("--epochs 1 --batch-size 99999", "steps is 0; give 1 or more"),
        ("--dropout 1", f"dropout is 1.0; {SHARE}"),
        ("--dropout -0.1", f"dropout is -0.1; {SHARE}"),
        ("--learning-rate 0", f"learning_rate is 0.0; {ABOVE_0}"),
        ("--learning-rate inf", f"learning_rate is inf; {FINITE}"),
        ("--learning-rate nan", f"learning_rate is nan; {ABOVE_0}"),
        ("--seed -1", "seed is -1; give 0 or more"),
        ("--seed 4294967296", "seed is 4294967296; give a whole number, 0 to 4294967295"),
        ("--clip-norm -1", f"clip_norm is -1.0; {ABOVE_0}"),
        ("--clip-norm inf", f"clip_norm is inf; {FINITE}"),
        ("--ema 1", f"ema is 1.0; {SHARE}"),
        ("--accumulate 0", "accumulate is 0; give 1 or more"),
        ("--accumulate 3", "batch of 128 on this device .* accumulate=3 .* give a multiple of 3"),
        ("--strategy pmap --batch-size 12", "12 does not divide over 8 devices; 8 or 16 would"),
        ("--strategy shard --batch-size 3", "3 does not divide over 8 devices; 8 would"),
        ("--dataset mnist --data-dir nowhere", "mnist is not prepared in nowhere; run `tfds build mnist"),
        ("--dataset mnits --data-dir nowhere", "nor does TFDS know it; try mnist"),
        ("--dataset ../mnist", "'../mnist' is no name of a data set"),
    ],
    "cnn_digits": [
        ("--shift -1", "shift is -1; give 0 or more"),
        ("--widths 8 0", f"widths is 0; {ABOVE_0}"),
    ],
    "resnet_cifar10": [
        ("--depth 0", f"depth is 0; {ABOVE_0}"),
        ("--width -3", f"width is -3; {ABOVE_0}"),
        ("--momentum 1.5", f"momentum is 1.5; {SHARE}"),
        ("--weight-decay -0.1", "weight_decay is -0.1; give 0 or more"),
    ],
    "transformer_text": [
        ("--context 0", f"context is 0; {ABOVE_0}"),
        ("--context 9999999", "a window of length 9999999 needs 10000000 tokens, and the text has"),
        ("--num-heads 0", f"num_heads is 0; {ABOVE_0}"),
        ("--num-heads 3", "width=128 does not divide into 3 heads; give a multiple"),
        ("--num-layers -1", f"num_layers is -1; {ABOVE_0}"),
        ("--steps 0", f"steps is 0; {ABOVE_0}"),
    ],
    "vae_digits": [
        ("--binarization always", "invalid choice: 'always'"),
        ("--latent-dim 0", f"latent_dim is 0; {ABOVE_0}"),
        ("--beta -1", "beta is -1.0; give 0 or more"),
    ],
    "vae_photographs": [
        ("--patch-size 0", f"patch_size is 0; {ABOVE_0}"),
        ("--patch-size 65", "patch_size is 65; choose 1 to 64, the width of a strip"),
        ("--stride 0", f"stride is 0; {ABOVE_0}"),
    ],
    "pixelcnn_digits": [
        ("--levels 1", "levels is 1; give 2 or more"),
        ("--first-size 4", "a kernel of 4 by 4 has no centre; give an odd number"),
    ],
    "m2_digits": [
        ("--num-labels 105", "num_labels is 105; give as many of each of 10 classes, such as 100"),
        ("--num-labels 2000", "num_labels is 2000; give as many of each of 10 classes, such as 1220"),
        ("--dataset photographs", "dataset is photographs, cut into patches elsewhere"),
        ("--temperature 0", f"temperature is 0.0; {ABOVE_0}"),
    ],
    "flow_digits": [("--bins 1", "bins is 1; give 2 or more")],
    "autoencoder_digits": [("--rate 1", "rate is 1.0; give a number of at least 0 and below 1")],
    "wavenet_tones": [
        ("--levels 1", "levels is 1; give 2 or more"),
        ("--length 0", f"length is 0; {ABOVE_0}"),
    ],
    "ar_series": [("--num-steps 10", "num_steps is 10; give 330 or more")],
    "cavi_ring": [
        ("--num-points 3", "components is 8; give 3 at most"),
        ("--std 0", f"std is 0.0; {ABOVE_0}"),
    ],
    "sarsa_cliff": [("--epsilon 3", "epsilon is 3.0; give a number from 0 to 1")],
    "pixelcnn_photographs": [("--features 32", "a divisor of features=32")],
    "dcgan_digits": [("--widths 8 8 8 8", "a 8x8 image does not halve 4 times: give fewer widths")],
    "wgan_digits": [
        ("--critic-steps 0", f"critic_steps is 0; {ABOVE_0}"),
        ("--penalty nan", "penalty is nan; give 0 or more"),
    ],
    "ppo_cartpole": [
        ("--environment gymnasium/Nope-v1", "gymnasium makes no environment 'Nope-v1'"),
        ("--environment gymnasium/FrozenLake-v1", "wrap it in gymnasium.wrappers.FlattenObservation"),
        ("--discount 1.1", "discount is 1.1; give a number from 0 to 1"),
        ("--env-steps 0", f"env_steps is 0; {ABOVE_0}"),
    ],
    "dqn_cartpole": [
        ("--collect 0", f"collect is 0; {ABOVE_0}"),
        ("--n 0", f"n is 0; {ABOVE_0}"),
        ("--explore-share 2", "explore_share is 2.0; give a number from 0 to 1"),
    ],
    "trpo_cartpole": [("--delta 0", f"delta is 0.0; {ABOVE_0}")],
    "q_learning_frozenlake": [("--environment mars", "invalid choice: 'mars'")],
}
COMMANDS = [
    (["train"], "the following arguments are required: config"),
    (["trian"], "invalid choice: 'trian'"),
    (["train", "nothing.py"], "there is no config nothing.py; `jaxdl list` shows"),
    (["train", str(CONFIGS)], "there is no config .*configs;"),
    (["train", ""], "there is no config ;"),
    (["train", "x" * 300 + ".py"], "there is no config xxx"),
    (["eval"], "the following arguments are required: workdir"),
    (["eval", "nowhere"], "nowhere is not a run's folder: it has no config.json"),
    (["eval", "nowhere", "--best-of"], "unrecognized arguments: --best-of"),
    (["render", "nowhere"], "nowhere is not a run's folder"),
    (["render", "nowhere", "--cpu-devices", "-1"], "'-1' is not 1 or more"),
    (["export"], "the following arguments are required: workdir"),
    (["export", "nowhere"], "nowhere is not a run's folder"),
    (["export", "nowhere", "--format", "onnx"], "invalid choice: 'onnx'"),
    (["list", "nowhere"], "there is no folder nowhere"),
]


def source(name: str, text: str | bytes, message: str) -> Case:
    """Train a config that holds this text; its function must have the name of the file."""
    return Case(f"config {name}", lambda at: ["train", at.write(f"{name}.py", text)], message)


A = "argument a of config"
PAIR = "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int = 1\n"
SOURCES = [
    source("import_error", "import nothing_like_this", "cannot be imported: ModuleNotFoundError: .*nothing"),
    source("syntax_error", "def f(:", r"syntax_error.py cannot be imported: SyntaxError: .*line 1"),
    source("binary", b"\x80\x00\xff", "binary.py cannot be imported: (SyntaxError|ValueError)"),
    source("fails_at_once", "1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    source("exits", "raise SystemExit(0)", "exits.py cannot be imported: SystemExit: 0"),
    source("empty", "", r"config empty.py has no function empty\(\); give it one that returns an Experiment"),
    source("no_function", "no_function = 3", r"has no function no_function\(\)"),
    source("no_type", "def no_type(a=1): ...", f"{A} no_type needs a type and a default"),
    source("no_default", "def no_default(a: int): ...", f"{A} no_default needs a type and a default"),
    source("star", "def star(*a: int): ...", f"{A} star needs a type and a default"),
    source("odd_type", "def odd_type(a: dict = {}): ...", f"{A} odd_type has type"),
    source("odd_parts", "def odd_parts(a: tuple[dict, ...] = ()): ...", f"{A} odd_parts has type"),
    source("unknown_type", "def unknown_type(a: 'Nothing' = 1): ...", "type that cannot be read: NameError"),
    source("odd_default", "def odd_default(a: int = 'x'): ...", "argument --a: invalid int value: 'x'"),
    source("odd_pair", f"{PAIR}def odd_pair(a: Pair = 3): ...", f"{A} odd_pair is 3; give a Pair"),
    source("own_word", "def own_word(config: str = 'x'): ...", "argument config of .* a word of its own"),
    source("trailing", "def trailing(lambda_: int = 'x'): ...", "argument --lambda: invalid int value: 'x'"),
    source("clash", "def clash(strategy: str = 'x'): ...", "option --strategy is there twice; rename"),
    source("twice", f"{PAIR}def twice(a: int = 1, b: Pair = Pair()): ...", "option --a is there twice"),
    source("wrong_return", "def wrong_return(): return 3", "returned int; it must return a jaxdl.train.Exp"),
    source("refuses", "def refuses(): raise ValueError('width is 0;\\n')", "jaxdl: width is 0;$"),
    source("mute", "def mute(): raise ValueError", "jaxdl: ValueError$"),
    source("broken", "def broken(): return {}['x']", "config broken failed: KeyError: 'x'"),
]


def text_file(name: str, content: str | bytes, message: str) -> Case:
    """Train the language model on a text file."""
    argv = ["train", str(CONFIGS / "transformer_text.py"), "--path"]
    return Case(f"text {name}", lambda at: [*argv, at.write("a.txt", content)], message)


def image_set(name: str, damage: Callable[[Path], Any], options: str, message: str) -> Case:
    """Train on a prepared TFDS set of 20 images to which something was done."""

    def prepare(at: Place) -> list[str]:
        shutil.copytree(at.finished / "tfds", at.folder / "tfds")
        damage(at.folder / "tfds" / "tiny" / "1.0.0")
        flags = f"--data-dir {at.folder}/tfds --dataset tiny --test-split train {options}"
        return ["train", str(CONFIGS / "mlp_digits.py"), *flags.split()]

    return Case(f"set {name}", prepare, message)


def shard(folder: Path) -> Path:
    return next(folder.glob("tiny-train.array_record*"))


def intact(folder: Path) -> None:
    """Damage nothing."""


DAMAGED = "tfds/tiny/1.0.0 is damaged, delete it and prepare it again: "
FILES = [
    option("transformer_text", "--path nowhere.txt", "there is no text file nowhere.txt; give the path of"),
    option("transformer_text", "--path .", r"there is no text file \."),
    text_file("empty", "", "a.txt is empty; give a file that holds text"),
    text_file("binary", b"abc\xff\xfe", "a.txt is not UTF-8 at byte 3; convert it"),
    text_file("short", "too short", "a window of length 64 needs 65 tokens, and the text has 8"),
    image_set("version", intact, "--dataset tiny:9.9.9", "not hold tiny:9.9.9; it has version 1.0.0"),
    image_set("split", intact, "--train-split all_of_it", r"at split 'all_of_it'; it has train \(20\)"),
    image_set("slice", intact, "--train-split train[:1%]", r"no examples at split 'train\[:1%\]'"),
    image_set("no info", lambda at: (at / "dataset_info.json").unlink(), "", "tfds holds no 'tiny'"),
    image_set("info", lambda at: (at / "dataset_info.json").write_text("{"), "", f"{DAMAGED}ParseError"),
    image_set("features", lambda at: (at / "features.json").unlink(), "", f"{DAMAGED}ValueError"),
    image_set("no shard", lambda at: shard(at).unlink(), "", f"{DAMAGED}RuntimeError: .*No such file"),
    image_set("other shard", lambda at: shard(at).write_bytes(b"x" * 99), "", f"{DAMAGED}RuntimeError"),
    image_set("half a shard", lambda at: os.truncate(shard(at), 66_000), "", DAMAGED),
]

IMAGE = np.linspace(0, 1, 48, dtype=np.float32).reshape(12, 2, 2, 1)
LABEL = np.arange(12, dtype=np.int32) % 3
TOKENS = np.arange(30, dtype=np.uint8) % 5


def put(array: Any, index: Any, value: Any) -> np.ndarray:
    """Copy an array, one value of it changed."""
    changed = np.array(array)
    changed[index] = value
    return changed


def label(values: Any, split: str = "train", **keywords: Any) -> Experiment:
    return classification(**{split: {"label": values}}, **keywords)


def image(values: Any, split: str = "train", **keywords: Any) -> Experiment:
    return classification(**{split: {"image": values}}, **keywords)


def classification(learner: Any = None, transform: Any = None, **splits: Any) -> Experiment:
    """Classify 12 images; what is given replaces arrays of a split."""
    learner = learner or classifier(MLP(3, (4,)), optim.sgd(0.1))
    good = {"image": IMAGE, "label": LABEL}
    data = {name: Batches({**good, **splits.get(name, {})}, 4, transform=transform) for name in SPLITS}
    return Experiment(learner, steps=3, **data)


class Unigram(nn.Module):
    """The smallest net that a language model can have."""

    @nn.compact
    def __call__(self, tokens, *, train):
        return nn.Embed(5, 5)(tokens)


def language(tokens: Any, validation: Any = TOKENS) -> Experiment:
    learner = language_model(Unigram(), optim.sgd(0.1), decode=str)
    return Experiment(learner, 3, *(Batches(windows(part, 4), 2) for part in (tokens, validation)))


def bernoulli(x: Any) -> Experiment:
    learner = vae(Encoder(2, (4,)), BernoulliDecoder((2, 2, 1), (4,)), optim.sgd(0.1))
    return Experiment(learner, 3, Batches({"x": x}, 4), monitor="elbo")


def line(loss: Any = None, evaluate: Any = None, metrics: Any = None, every: int = 1, **keywords: Any) -> Any:
    """Fit a line to the means of images; `loss` changes its loss, a scalar, and `evaluate` its values [4]."""

    def error(params, batch):
        return batch["image"].mean((1, 2, 3)) * params["line"] - batch["label"]

    def mean_square(params, model_state, batch, key):
        value = (error(params, batch) ** 2).mean()
        return (loss(value) if loss else value), (model_state, metrics or {})

    def squares(params, model_state, batch, key):
        values = error(params, batch) ** 2
        return evaluate(values) if evaluate else {"loss": values}

    learner = gradient_learner(
        lambda key, batch: ({"line": jnp.ones(())}, {}),
        {"line": Player(mean_square, optim.sgd(0.1), every)},
        evaluate=squares,
    )
    return Experiment(**{**vars(classification(learner)), **keywords})


def player(loss: Any, init: Any = lambda key, batch: ({"line": jnp.ones(())}, {})) -> Experiment:
    """Train one player whose functions may give other than they should."""
    learner = gradient_learner(init, {"line": Player(loss, optim.sgd(0.1))}, evaluate=None)
    return classification(learner)


def own(step: Any = None, init: Any = None, evaluate: Any = None, **keywords: Any) -> Experiment:
    """Count steps: a learner without data, whose functions may be wrong."""
    learner = Learner(
        init=init or (lambda key, batch: {"n": jnp.zeros(())}),
        step=step or (lambda state, batch, *, axis_name=None: ({"n": state["n"] + 1}, {"n": state["n"]})),
        evaluate=evaluate or (lambda state, batch, key: {"return": state["n"] + jnp.zeros(2)}),
    )
    return Experiment(**{"learner": learner, "steps": 3, "monitor": "return", **keywords})


def stepping(change: Callable[[Any], Any] = lambda state: state, metrics: Any = None) -> Experiment:
    """Change the state and the metrics {} of a step."""
    return own(lambda state, batch, *, axis_name=None: (change(state), {} if metrics is None else metrics))


class Stream:
    """A source that is read example by example, each made by a function."""

    def __init__(self, make: Callable[[int], Any], size: int = 12) -> None:
        self.make, self.size = make, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.make(index)


def streamed(make: Callable[[int], Any]) -> Experiment:
    return line(train=Batches(Stream(make), 4))


def hand(name: str, make: Callable[[], Any], message: str, keywords: Any = {}) -> Case:  # noqa: B006
    """Fit an experiment built by hand."""
    call = lambda at: lambda: fit(make(), at.folder / "run", quiet=True, **keywords)
    return Case(f"hand: {name}", call, message)


DATA = (f"the learner does not fit its {name} data: " for name in ("train", "validation", "test"))
TRAIN, VALIDATION, TEST = DATA
OWN = "the learner cannot run: "
WHOLE = "give 1 or more, a whole number"
doubled = lambda key, example: {**example, "image": 2 * example["image"]}
nothing = lambda key, example: example["nothing"]
alone = lambda params, model_state, batch, key: params["line"] ** 2
by_value = lambda key, example: example if example["label"] else {}
EXPERIMENTS = [
    ("label 3", lambda: label(put(LABEL, 5, 3)), f"{TRAIN}ValueError: label is 3 in example 5; the net"),
    ("label -1", lambda: label(put(LABEL, 7, -1)), "label is -1 in example 7; the net tells 3 apart, 0 to 2"),
    ("label later", lambda: label(put(LABEL, 0, 9), "validation"), f"{VALIDATION}.*label is 9 in example 0"),
    ("label at last", lambda: label(put(LABEL, 11, 3), "test"), f"{TEST}.*label is 3 in example 11"),
    ("label passed on", lambda: label(put(LABEL, 5, 3), transform=doubled), "label is 3 in example 5"),
    ("label float", lambda: label(LABEL / 1), r"label is float32\[4\]; give integers \[B\]"),
    ("label bool", lambda: label(LABEL > 0), r"label is bool\[4\]; give integers \[B\]"),
    ("label column", lambda: label(LABEL[:, None]), r"label is int32\[4, 1\]; give integers \[B\]"),
    ("label float at last", lambda: label(LABEL / 2, "test"), f"{TEST}ValueError: label is float32"),
    ("token 5", lambda: language(put(TOKENS, 9, 5)), "tokens is 5 in example 5; the net tells 5 apart"),
    ("token later", lambda: language(TOKENS, put(TOKENS, 0, 9)), f"{VALIDATION}.*is 9 in example 0"),
    ("token float", lambda: language(TOKENS.astype(np.float32)), TRAIN),
    ("pixel above 1", lambda: bernoulli(IMAGE * 255), r"x is .* in example 0; rescale it to \[0, 1\]"),
    ("pixel below 0", lambda: bernoulli(put(IMAGE, (4, 1), -0.5)), "x is -0.5 in example 4; rescale"),
    ("nan", lambda: image(put(IMAGE, 3, np.nan)), r"train data\['image'\] is not finite .*, first in 3"),
    ("nan later", lambda: image(put(IMAGE, [2, 5], np.nan), "validation"), "validation .* 2 .*first in 2"),
    ("inf at last", lambda: image(put(IMAGE, 8, -np.inf), "test"), "test data.* 1 examples, first in 8"),
    ("1e300", lambda: image(put(IMAGE.astype(float), 1, 1e300)), "not finite float32 in 1 examples, first"),
    ("2^40", lambda: label(put(LABEL.astype(int), 6, 2**40)), "not in the range of int32 .* first in 6"),
    ("objects", lambda: label(LABEL.astype(object)), r"source\['label'\] is object\[12\]; give an array of"),
    ("words", lambda: label(LABEL.astype(str)), r"source\['label'\] is <U\d+\[12\]; give an array"),
    ("one number", lambda: label(np.int32(3)), r"source\['label'\] is int32\[\]; give an array"),
    ("lengths", lambda: label(LABEL[:-1]), "arrays of a source must have one length, not .*12.*11"),
    ("no examples", lambda: Batches({"x": IMAGE[:0]}, 4), "the source is empty; give at least one example"),
    ("no arrays", lambda: Batches({}, 4), "the source holds no arrays; give at least one"),
    ("a list", lambda: Batches({"x": [1, 2]}, 4), "the source is a dict without arrays; give numpy"),
    ("an iterator", lambda: Batches(iter(IMAGE), 4), "the source is a iterator without arrays"),
    ("batch of 0", lambda: Batches({"x": IMAGE}, 0), f"batch_size is 0; {WHOLE}"),
    ("batch of 2.5", lambda: Batches({"x": IMAGE}, 2.5), f"batch_size is 2.5; {WHOLE}"),
    ("seed of data", lambda: Batches({"x": IMAGE}, 4, seed=-1), "seed is -1; give a whole number, 0 to"),
    ("gather", lambda: Batches({"x": IMAGE}, 4, gather="gpu"), "gather is 'gpu'; choose auto, host or"),
    ("no image", lambda: line(train=Batches({"label": LABEL}, 4)), f"{TRAIN}KeyError: 'image'"),
    ("shape", lambda: image(IMAGE[:, 0, 0]), f"{VALIDATION}ScopeParamShapeError"),
    ("shape at last", lambda: image(IMAGE[:, :1], "test"), f"{TEST}ScopeParamShapeError"),
    ("transform", lambda: classification(transform=nothing), f"{TRAIN}KeyError: 'nothing'"),
    ("transform by value", lambda: classification(transform=by_value), f"{TRAIN}TracerBoolConversionErr"),
    ("stream, ragged", lambda: streamed(lambda i: IMAGE[i, : i % 2]), f"{TRAIN}ValueError: all input array"),
    ("stream, text", lambda: streamed(lambda i: {"image": b"png"}), f"{TRAIN}TypeError"),
    ("stream, broken", lambda: streamed(lambda i: os.stat("no")), f"{TRAIN}FileNotFoundError: .*'no'"),
    ("stream, empty", lambda: Batches(Stream(int, size=0), 4), "the source is empty"),
    ("no batches", lambda: line(train={"image": IMAGE}), r"train is a dict; give Batches\(source"),
    ("no learner", lambda: own(learner=3), "learner is a int; give a jaxdl.types.Learner"),
    ("no steps", lambda: own(steps=0), f"steps is 0; {WHOLE}"),
    ("half a step", lambda: own(steps=2.5), f"steps is 2.5; {WHOLE}"),
    ("no steps in a call", lambda: own(steps_per_call=0), f"steps_per_call is 0; {WHOLE}"),
    ("never evaluated", lambda: own(eval_every=0), f"eval_every is 0; {WHOLE}"),
    ("seed", lambda: own(seed=2**40), "seed is 1099511627776; give a whole number, 0 to 4294967295"),
    ("monitor", lambda: line(monitor="los"), "monitor is 'los'; choose one that evaluate gives: loss"),
    ("monitor, no data", lambda: own(monitor="los"), "choose one that evaluate gives: return"),
    ("no experiment", lambda: own().learner, r"experiment is a Learner; give a jaxdl.train.Experiment"),
    ("no step in a call", own, "steps_per_call is 0; give 1 or more", {"steps_per_call": 0}),
    ("strategy", own, "strategy is 'gpu'; choose jit, pmap or shard", {"strategy": "gpu"}),
    ("patience", own, "patience is 0; give 1 or more", {"patience": 0}),
    ("patience, blind", lambda: line(validation=None), "no validation data to watch", {"patience": 2}),
    ("devices", line, "4 does not divide over 8 devices; 8 would", {"strategy": "pmap"}),
    ("state grows", lambda: stepping(lambda s: {**s, "m": s["n"]}), "m of the state from nothing to float32"),
    ("state shrinks", lambda: stepping(lambda s: {}), r"state from float32\[\] to nothing"),
    ("state shape", lambda: stepping(lambda s: {"n": jnp.zeros(2)}), r"from float32\[\] to float32\[2\]"),
    ("state dtype", lambda: stepping(lambda s: {"n": jnp.int32(0)}), r"from float32\[\] to int32\[\]"),
    ("state structure", lambda: stepping(lambda s: {**s, "x": None}), "changes the structure of the state"),
    ("state of text", lambda: own(init=lambda key, batch: {"n": "none"}), f"{OWN}TypeError"),
    ("step, one result", lambda: own(lambda state, batch, *, axis_name=None: state), f"{OWN}ValueError"),
    ("step, no batch", lambda: own(lambda state: (state, {})), f"{OWN}TypeError"),
    ("step by value", lambda: stepping(lambda s: s if s["n"] else {}), f"{OWN}TracerBoolConversionError"),
    ("metrics, list", lambda: stepping(metrics=[1.0]), "step gives metrics as list; give a dict"),
    ("metric, array", lambda: stepping(metrics={"a": np.ones(3)}), r"the metric a as \[3\]; give a scalar"),
    ("metric, dict", lambda: stepping(metrics={"a": {"b": 1.0}}), "the metric a as dict; give a scalar"),
    ("metric, name", lambda: stepping(metrics={"split": 1.0}), "named 'split'; give it another name"),
    ("loss, vector", lambda: line(lambda v: v * jnp.ones(4)), r"'line' is float32\[4\], not a float32"),
    ("loss, dtype", lambda: line(lambda v: v.astype(jnp.bfloat16)), r"is bfloat16\[\], not a float32 scalar"),
    ("loss, number", lambda: line(lambda v: 0.0), TRAIN),
    ("loss, alone", lambda: player(alone), r"loss of 'line' must give \(loss, \(model_state, met"),
    ("loss, no metrics", lambda: player(lambda *of: (alone(*of), {})), "loss of 'line' must give"),
    ("init, alone", lambda: player(alone, lambda *of: {"line": jnp.ones(())}), r"init must give \(params"),
    ("loss, taken", lambda: line(metrics={"loss": 1.0}), "the loss of 'line' gives a metric 'loss'"),
    ("loss, metric", lambda: line(metrics={"a": np.ones(4)}), r"the metric a as \[4\]; give a scalar"),
    ("evaluate, mean", lambda: line(evaluate=lambda v: {"a": v.mean()}), r"\[\]; give one value per example"),
    ("evaluate, column", lambda: line(evaluate=lambda v: {"a": v[:, None]}), r"a as \[4, 1\]; give one"),
    ("evaluate, tuple", lambda: line(evaluate=lambda v: (v,)), "evaluate gives metrics as tuple; give a di"),
    ("evaluate, error", lambda: own(evaluate=lambda state, batch, key: state["r"]), f"{OWN}KeyError: 'r'"),
    ("player at rest", lambda: line(every=0), "player 'line' has every=0; give 1 or more"),
    ("option", lambda: gradient_learner(None, {}, evaluate=None, options=Options(ema=2)), "ema is 2; give"),
]


HELD: list[Any] = []  # locks


def hold(run: Path) -> None:
    """Lock the folder as a process does that runs in it."""
    HELD.append((run / "lock").open())
    fcntl.flock(HELD[-1], fcntl.LOCK_EX)


def file(name: str, content: str | bytes | None) -> Callable[[Path], None]:
    """Give a file of the run another content; None puts a folder in its place."""

    def change(run: Path) -> None:
        (run / name).unlink()
        if content is None:
            (run / name).mkdir()
        else:
            (run / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def gone(name: str) -> Callable[[Path], None]:
    """Take away a folder or a file."""
    return lambda run: shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()


def link(name: str) -> Callable[[Path], None]:
    """Move a part of the run elsewhere, and leave a link to it."""

    def change(run: Path) -> None:
        (run / name).rename(run.parent / "elsewhere")
        (run / name).symlink_to(run.parent / "elsewhere")

    return change


def made(**changes: Any) -> Callable[[Path], None]:
    """Change entries of config.json; None takes one out."""

    def change(run: Path) -> None:
        entries = {**json.loads((run / "config.json").read_text()), **changes}
        kept = {name: value for name, value in entries.items() if value is not None}
        (run / "config.json").write_text(json.dumps(kept))

    return change


def given(**changes: Any) -> Callable[[Path], None]:
    """Change arguments in config.json; None takes one out."""

    def change(run: Path) -> None:
        arguments = {**json.loads((run / "config.json").read_text())["arguments"], **changes}
        made(arguments={name: value for name, value in arguments.items() if value is not None})(run)

    return change


def own_config(run: Path) -> None:
    """Let the run bring its code along."""
    shutil.copy(run.parent / "linear.py", run)
    made(config=str(run / "linear.py"))(run)


def other_net(run: Path) -> None:
    """Let the config of the run build another net than it did."""
    text = (run.parent / "linear.py").read_text()
    (run.parent / "linear.py").write_text(text.replace("MLP(3, hidden)", "MLP(3, (5,))"))


TRAIN_AGAIN = [
    ("argument", given(seed=5), "arguments.seed is 5 there, 0 here; choose another --workdir, or the same"),
    ("new argument", given(seed=None), "arguments.seed is None there, 0 here"),
    ("config", made(config="b.py"), "config is 'b.py' there, '.*linear.py' here"),
    ("in use", hold, "workdir run is in use by another process; wait for it"),
    ("no JSON", file("config.json", "{"), "cannot read run/config.json: Expecting property name"),
    ("no text", file("config.json", b"\xff"), "cannot read run/config.json: 'utf-8' codec"),
    ("no object", file("config.json", "[]"), "run/config.json holds list, not the object of a run"),
    ("no file", file("config.json", None), "cannot read run/config.json"),
    ("no run", gone("config.json"), "workdir run holds files but no run; choose another --workdir"),
    ("net", other_net, r"bias is float32\[4\] in the checkpoint of step 3, but float32\[5\] here; use the"),
    ("number for a row", file("metrics.jsonl", "3\n"), "metrics.jsonl holds no row .* line 1: 3; delete"),
    ("row without step", file("metrics.jsonl", '{"split": "test"}'), "holds no row of metrics in line 1: "),
    ("row of bytes", file("metrics.jsonl", b"\xff"), "run/metrics.jsonl is not text; move it away"),
    ("row folder", file("metrics.jsonl", None), "run/metrics.jsonl is not what a run writes there; move it"),
    ("link to a lock", link("lock"), "cannot write in workdir run: Too many levels of symbolic links"),
    ("link to pictures", link("pictures"), "run/pictures is a link; pictures are not written through it"),
]
LOOK_AGAIN = [
    ("no JSON", file("config.json", "{"), "cannot read run/config.json"),
    ("number", file("config.json", "3"), "config.json holds int, not the object of a run"),
    ("empty object", file("config.json", "{}"), "must hold a text `config` and an object `arguments`"),
    ("config number", made(config=3), "must hold a text `config` and an object `arguments`"),
    ("arguments gone", made(arguments=None), "must hold a text `config` and an object `arguments`"),
    ("config gone", gone("../linear.py"), "linear.py, which run/config.json names; if it "),
    ("config unnamable", made(config="a\0.py"), "there is no config"),
    ("config of its own", own_config, "names a config inside of the run's folder: .*; read it, and move it"),
    ("argument gone", given(seed=None), "does not give seed, which .*linear.py asks for; add to it"),
    ("argument unknown", given(depth=3), "config linear has no argument depth; it has hidden, seed, options"),
    ("argument nested", given(options={"ema": 0}), "does not give options.clip_norm, options.accumulate"),
    ("argument type", given(hidden="wide"), r"hidden is 'wide'; give tuple\[int, ...\]"),
    ("argument true", given(seed=True), "seed is True; give int"),
    ("argument range", given(hidden=[0]), f"hidden is 0; {ABOVE_0}"),
    ("checkpoints gone", gone("checkpoints"), "run holds no checkpoint yet; train it first"),
    ("net of another width", given(hidden=[5]), r"bias is float32\[4\] in the checkpoint of step 3, but"),
    ("net of another kind", other_net, "use the arguments that it was made with"),
    ("state of more", given(options=Options(ema=0.9)._asdict()), "ema_.* is missing in the checkpoint"),
]


def wrote(name: str, content: str | bytes = "") -> Callable[[Path], None]:
    """Add a file to the run, or beside it."""

    def change(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def mute(run: Path) -> None:
    """Let the learner of the run export nothing."""
    text = (run.parent / "linear.py").read_text()
    (run.parent / "linear.py").write_text(
        text.replace("options=options)", "options=options)._replace(export=None)")
    )


def as_it_is(run: Path) -> None:
    """Change nothing."""


EXPORTS = [
    ("", "no JSON", file("config.json", "{"), "cannot read run/config.json"),
    ("", "checkpoints", gone("checkpoints"), "run holds no checkpoint yet; train it first"),
    ("", "learner", mute, "this learner exports nothing; give it an `export`, or take --format safetensors"),
    ("", "again", wrote("export/export.json"), "run/export exists; give --overwrite to replace it, or --to"),
    ("--overwrite", "data", wrote("export/data"), "run/export is no earlier export and is not replaced;"),
    ("--overwrite", "file", wrote("export"), "run/export is no earlier export and is not replaced; give --"),
    ("--to linear.py", "source", as_it_is, "linear.py exists; give --overwrite to replace it, or --to for"),
    (
        f"--to {'x' * 300}",
        "long",
        as_it_is,
        "cannot write x+: File name too long; give --to for another place",
    ),
    ("--format safetensors", "again", wrote("params.safetensors"), "run/params.safetensors exists; give --o"),
    ("--format safetensors --to a.npz", "name", as_it_is, "a.npz is no name of a safetensors file; give one"),
]
FOREIGN, OTHER = save({"x": np.ones(1)}), save({"params.net.bias": np.ones(1)})
PARAMS_FROM = [
    ("gone", as_it_is, "cannot read a.safetensors: No such file or directory; give the path of a"),
    ("damage", wrote("../a.safetensors", "x"), "a.safetensors is no whole safetensors file: .*; write it"),
    ("no params", wrote("../a.safetensors", FOREIGN), "a.safetensors holds no params; it holds x"),
    ("other net", wrote("../a.safetensors", OTHER), "missing in the given params; it is of another"),
]


def again(command: str, name: str, change: Callable[[Path], Any], message: str) -> Case:
    """Run a command on a copy of the finished run to which something was done."""

    def prepare(at: Place) -> list[str]:
        change(at.run())
        return command.split()

    return Case(f"{command}: {name}", prepare, message)


def workdir(path: str, message: str) -> Case:
    """Train in a workdir that cannot be made."""

    def prepare(at: Place) -> list[str]:
        at.run()
        at.write("file", "")
        return ["train", "linear.py", "--workdir", path]

    return Case(f"workdir {path[:20]}", prepare, message)


WORKDIRS = [
    workdir("file", "workdir file is a file; choose another --workdir"),
    workdir("file/run", "cannot write in workdir file/run: Not a directory; choose another --workdir"),
    workdir("/proc/jaxdl", "cannot write in workdir /proc/jaxdl: "),
    workdir(".", r"workdir \. holds files but no run; choose another --workdir"),
    workdir("x" * 300, "cannot write in workdir x+: File name too long"),
]


def drawn(name: str, pictures: Any, message: str) -> Case:
    """Save what a learner draws."""
    return Case(
        f"picture {name!r:.20}", lambda at: lambda: save_all(at.folder / "pictures", pictures), message
    )


SQUARE = np.zeros((2, 2))
PICTURES = [
    *(
        drawn(
            name,
            {"good": SQUARE, name: SQUARE},
            f"render names a picture {re.escape(repr(name))}; give a plain",
        )
        for name in ("../../x", "..", "/tmp/x", "a/b", "a\0b", "", ".hidden", "a\nb", "x" * 300, 3)
    ),
    drawn("vector", {"x": np.zeros(3)}, r"picture x has shape \[3\]; give \[H, W\]"),
    drawn("channels", {"x": np.zeros((2, 2, 4))}, r"picture x has shape \[2, 2, 4\]; give"),
    drawn("nothing", {"x": np.zeros((0, 2))}, r"picture x has shape \[0, 2\]; give"),
]

CASES = [
    *(option(name, *row) for name, rows in OPTIONS.items() for row in rows),
    *(Case(" ".join(argv)[:60], lambda at, argv=argv: argv, message) for argv, message in COMMANDS),
    *SOURCES,
    *FILES,
    *(hand(*row) for row in EXPERIMENTS),
    *(again("train linear.py --workdir run", *row) for row in TRAIN_AGAIN),
    *(again("eval run", *row) for row in LOOK_AGAIN),
    *(again("render run --best", *row) for row in LOOK_AGAIN[-5:]),
    *(again(f"export run {flags}".strip(), *row) for flags, *row in EXPORTS),
    *(again("train linear.py --params-from a.safetensors", *row) for row in PARAMS_FROM),
    again("train linear.py --params-from no", "gone", as_it_is, "there is no folder no; give that of a run"),
    again("train linear.py --params-from run", "new", gone("checkpoints"), "run holds no checkpoint; tr"),
    *WORKDIRS,
    *PICTURES,
]

LINEAR = """
import numpy as np
from jaxdl import optim
from jaxdl.data import Batches
from jaxdl.learners import classifier
from jaxdl.nets.mlp import MLP
from jaxdl.train import Experiment, Options

def linear(hidden: tuple[int, ...] = (4,), seed: int = 0, options: Options = Options()) -> Experiment:
    data = Batches({"image": np.ones((12, 2, 2, 1), np.float32), "label": np.arange(12) % 3}, 4, seed)
    learner = classifier(MLP(3, hidden), optim.sgd(0.1), options=options)
    return Experiment(learner, 3, data, data, monitor="accuracy", maximize=True, seed=seed)
"""


def prepare_images(data_dir: Path) -> None:
    """Write 20 images with TFDS's own writer."""
    import tensorflow_datasets as tfds

    folder = data_dir / "tiny" / "1.0.0"
    folder.mkdir(parents=True)
    features = {
        "image": tfds.features.Tensor(shape=(2, 2, 1), dtype=np.uint8),
        "label": tfds.features.ClassLabel(num_classes=3),
    }
    identity = tfds.core.DatasetIdentity("tiny", tfds.core.Version("1.0.0"), str(folder), module_name="")
    info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=20, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples(
        {"train": [{"image": np.zeros((2, 2, 1), np.uint8), "label": i % 3} for i in range(20)]}
    )
    writer.close_all()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a config, the run that it made, and a TFDS set."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "linear.py").write_text(LINEAR)
    prepare_images(folder / "tfds")
    before = len(COMPILED)
    assert cli.main(["train", str(folder / "linear.py"), "--workdir", str(folder / "run"), "--quiet"]) == 0
    assert len(COMPILED) > before  # so the count below can be other than zero
    return folder


def photograph(folder: Path) -> dict[str, Any]:
    """Return what there is: the bytes of each file, the target of each link."""
    return {
        str(path.relative_to(folder)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def test_every_number_of_every_config_is_checked():
    for path in CONFIGS.glob("*.py"):
        function = config.load(path)
        described = {keywords["dest"]: keywords for keywords in config.options(function).values()}
        defaults = {name: keywords["default"] for name, keywords in described.items()}
        for name, keywords in described.items():
            kind = keywords.get("type")
            if kind in (int, float):
                number = math.nan if kind is float else -(10**9)
                value = (number,) if "nargs" in keywords else number
                with pytest.raises(InputError, match=f"^{name.rpartition('.')[-1]} is {number}; give "):
                    config.build(function, config.arguments(function, {**defaults, name: value}))


def test_only_what_reaches_the_batch_unchanged_is_judged():
    """Six classes are halved to three: the source alone would be out of range."""
    halved = lambda key, example: {**example, "label": example["label"] // 2, "again": example["image"]}
    wide = np.arange(12, dtype=np.int32) % 6
    check_experiment(classification(transform=halved, **{name: {"label": wide} for name in SPLITS}))
    assert set(Batches({"image": IMAGE, "label": wide}, 4, transform=halved).held) == {"image", "again"}
    source = windows(TOKENS, 4)
    assert np.shares_memory(Batches(source, 4).held["tokens"], TOKENS)
    assert Batches(Stream(lambda i: {"label": 9}), 4).held == {}


def test_a_platform_that_is_not_here_is_refused_before_a_run_is_read(tmp_path):
    """Only a fresh process can tell: jax reads the platform when it is imported."""
    argv = [sys.executable, "-m", "jaxdl", "eval", str(tmp_path), "--platform", "tpu"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "platform 'tpu' is not here" in done.stderr.splitlines()[-1]


def test_a_config_that_cannot_be_read_does_not_hide_the_others(tmp_path, capsys):
    (tmp_path / "a.py").write_text("def f(:")
    (tmp_path / "b.py").write_text('"""A good one."""')
    assert cli.main(["list", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "cannot be read: " in printed
    assert "A good one." in printed


def test_there_are_enough_cases_and_none_twice():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) > 110


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_told_in_one_line_and_nothing_happens(case, finished, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    act = case.prepare(Place(tmp_path, finished))
    before = photograph(tmp_path)
    jax.clear_caches()  # what was compiled in an earlier case must be compiled, and counted, again
    COMPILED.clear()
    request.addfinalizer(lambda: [HELD.pop().close() for _ in HELD[:]])
    if callable(act):
        with pytest.raises((ValueError, OSError, RunError)) as caught:
            act()
        said, printed = str(caught.value), ""
    else:
        try:
            code = cli.main(act)
        except SystemExit as stop:
            code = stop.code
        printed, said = capsys.readouterr()
        assert code == 2
    assert re.search(case.message, said.rstrip("\n")), said
    assert said.rstrip("\n").count("\n") == 0, said
    assert not printed
    assert not COMPILED
    assert photograph(tmp_path) == before
