"""Decoder-only Transformer on characters.

Paper: Vaswani et al., Attention Is All You Need, 2017; Radford et al., GPT-2, 2019
Data: a text file; CPython's own documentation by default
Command: jaxdl train configs/transformer_text.py
    jaxdl train configs/transformer_text.py --path tiny_shakespeare.txt
Time: 5 min on 2 cores
Expected: validation loss <= 1.5 nats a character on CPython's documentation, <= 1.9 on tiny Shakespeare
"""

from functools import partial

from jaxdl import optim
from jaxdl.data import Batches, decode, split_text, text, windows
from jaxdl.learners import language_model
from jaxdl.nets.transformer import Transformer
from jaxdl.train import Experiment, Options

TINY = {
    "context": 16,
    "num_layers": 1,
    "num_heads": 2,
    "width": 16,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "steps": 96,
}


def transformer_text(
    path: str | None = None,
    context: int = 64,
    num_layers: int = 4,
    num_heads: int = 4,
    width: int = 128,
    dropout: float = 0.0,
    remat: bool = False,
    chunk: int | None = None,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.1,
    batch_size: int = 12,
    steps: int = 2_000,
    seed: int = 0,
    options: Options = Options(clip_norm=1.0),
) -> Experiment:
    """Build the experiment: the first nine tenths of the text train, the last validates.

    Args:
        path: of a UTF-8 text file; CPython's documentation by default.
        context: characters that a prediction sees at most.
        num_layers: blocks of the Transformer.
        num_heads: heads of each attention.
        width: of the embedding.
        dropout: share of units dropped in training.
        remat: compute each block anew in the backward pass, to save memory.
        chunk: tokens of a sequence whose logits are in memory at a time, of a large vocabulary; else all.
        learning_rate: of AdamW, at its peak; it falls along a cosine to a tenth.
        weight_decay: of matrices.
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
        Transformer(len(characters.vocabulary), context, num_layers, num_heads, width, dropout, remat),
        optim.adamw(schedule, b2=0.99, weight_decay=weight_decay, mask=optim.matrices),
        decode=partial(decode, vocabulary=characters.vocabulary),
        chunk=chunk,
        options=options,
    )
    return Experiment(learner, steps, train, validation, seed=seed)
