"""Everything around a learner: the shared gradient step, compilation, the loop, runs on disk."""

from jaxdl.train.checkpoint import Checkpoints, load_part
from jaxdl.train.compile import Layout, Strategy, compile_step, layout
from jaxdl.train.evaluate import compile_evaluate, render_pictures
from jaxdl.train.experiment import Experiment, check_experiment, initial_state
from jaxdl.train.export import export_programs, exported
from jaxdl.train.fit import Result, fit
from jaxdl.train.safetensors import load_safetensors, save_safetensors
from jaxdl.train.state import TrainState
from jaxdl.train.step import Options, Player, gradient_learner, mean_over_steps

__all__ = [
    "Checkpoints",
    "Experiment",
    "Layout",
    "Options",
    "Player",
    "Result",
    "Strategy",
    "TrainState",
    "check_experiment",
    "compile_evaluate",
    "compile_step",
    "export_programs",
    "exported",
    "fit",
    "gradient_learner",
    "initial_state",
    "layout",
    "load_part",
    "load_safetensors",
    "mean_over_steps",
    "render_pictures",
    "save_safetensors",
]
