"""LSTM on characters.

Paper: Hochreiter & Schmidhuber, Long Short-Term Memory, 1997; Zaremba et al., 2014
Data: a text file; CPython's own documentation by default
Command: jaxdl train configs/lstm_text.py
    jaxdl train configs/lstm_text.py --path tiny_shakespeare.txt
Time: 5 min on 2 cores
Expected: validation loss <= 1.3 nats a character, on CPython's documentation
"""

from functools import partial

from jaxdl import optim
from jaxdl.data import Batches, decode, split_text, text, windows
from jaxdl.learners import language_model
from jaxdl.nets.lstm import LSTM
from jaxdl.train import Experiment, Options

TINY = {
    "context": 16,
    "num_layers": 1,
    "width": 32,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "steps": 96,
}


def lstm_text(
    path: str | None = None,
    context: int = 64,
    num_layers: int = 2,
    width: int = 256,
    dropout: float = 0.2,
    tied: bool = False,
    chunk: int | None = None,
    learning_rate: float = 3e-3,
    batch_size: int = 32,
    steps: int = 1_500,
    seed: int = 0,
    options: Options = Options(clip_norm=1.0),
) -> Experiment:
    """Build the experiment: the first nine tenths of the text train, the last validates.

    Args:
        path: of a UTF-8 text file; CPython's documentation by default.
        context: characters that a prediction sees at most.
        num_layers: LSTMs, each on top of the one before.
        width: of the embedding and of each layer.
        dropout: share of units dropped in training, after each layer.
        tied: whether the output weights are those of the embedding.
        chunk: tokens of a sequence whose logits are in memory at a time, of a large vocabulary; else all.
        learning_rate: of Adam, at its peak; it falls along a cosine to a tenth.
        batch_size: windows in a step.
        steps: of training.
        seed: of everything random.
        options: of the step.
    """
    characters = text(path)
    splits = split_text(characters.tokens, cuts=(0.9, 1.0))
    train = Batches(windows(splits.train, context), batch_size, seed)
    validation = Batches(windows(splits.validation, context, stride=context), 128, seed)
    schedule = optim.warmup_cosine(learning_rate, steps, warmup=100, end=learning_rate / 10)
    learner = language_model(
        LSTM(len(characters.vocabulary), num_layers, width, dropout, tied),
        optim.adam(schedule),
        decode=partial(decode, vocabulary=characters.vocabulary),
        chunk=chunk,
        options=options,
    )
    return Experiment(learner, steps, train, validation, seed=seed)
