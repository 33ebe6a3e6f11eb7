"""Generated sequences, to see what a model of time learns: notes as waveforms, digits as strokes of a pen.

Each sampler takes (seed, num), and gives the same examples for the same seed.
"""

import math

import numpy as np

Sequences = dict[str, np.ndarray]

PITCHES = 1 / 32 * 2 ** (np.arange(8) / 4)  # cycles per sample, a quarter of an octave apart
HARMONICS = 3
HEIGHT, WIDTH, ADVANCE = 4.0, 2.8, 6.0  # of a glyph, in units of the pen's steps, which are about 1 long
POINTS = 19  # of a glyph at most
STEP = 0.8  # how far the pen moves at most, at size 1
STYLE = ("slant", "size", "rhythm", "jitter")


def tones(seed: int, num: int, length: int = 256, noise: float = 0.01) -> Sequences:
    """Generate short notes of a few harmonics.

    x_t = a·e^{−t/τ}·Σ_h b_h sin(2π h f t + φ_h)/Σ_h b_h + noise·ε_t,  b_h ~ U[0, 1]/h for h > 1, b_1 = 1

    The loudness is a ~ U[0.5, 0.9], the decay τ between a quarter and the whole of the length, φ_h uniform.

    Args:
        seed: of everything random.
        num: N.
        length: T, samples.
        noise: standard deviation of the noise.

    Returns:
        {"wave": float32 [N, T] in [-1, 1], "label": int32 [N]}, the label k of the pitch f = PITCHES[k].
    """
    rng = np.random.default_rng(seed)
    label = rng.integers(len(PITCHES), size=num)
    t, h = np.arange(length), np.arange(1, HARMONICS + 1)
    share = np.concatenate([np.ones((num, 1)), rng.random((num, HARMONICS - 1))], 1) / h
    phase = 2 * np.pi * rng.random((num, HARMONICS, 1))
    angle = 2 * np.pi * PITCHES[label][:, None, None] * h[:, None] * t + phase
    sound = (share[..., None] * np.sin(angle)).sum(1) / share.sum(1, keepdims=True)
    loudness, decay = rng.uniform(0.5, 0.9, (num, 1)), length * rng.uniform(0.25, 1, (num, 1))
    wave = loudness * np.exp(-t / decay) * sound + noise * rng.standard_normal((num, length))
    return {"wave": np.clip(wave, -1, 1).astype(np.float32), "label": label.astype(np.int32)}


def strokes(seed: int, num: int, num_glyphs: int = 3) -> Sequences:
    """Write rows of digits with a pen, each row in a style of its own.

    The pen moves by (Δx, Δy) at each step, lifted or not. A style is drawn once for each row: the slant
    ~ U[-0.6, 0.6] of upright lines, the size ~ U[0.6, 1.4] of glyphs, the rhythm γ ~ U[0.7, 1.4], by which
    the pen has come (n/N)^γ of a line's way after n of N steps, and the jitter ~ U[0.01, 0.1], the standard
    deviation of noise on each move. Each line is drawn from one end or from the other, at random.

    Args:
        seed: of everything random.
        num: N.
        num_glyphs: digits in a row.

    Returns:
        {"x": float32 [N, T, 3], of (Δx, Δy, 1 where the pen is lifted), "glyph": int32 [N, T], the digit that
        is written, "start": float32 [N, T], 1 at its first step, "mask": float32 [N, T], 0 after the end,
        "style": float32 [N, 4], as in STYLE}, T = num_glyphs · POINTS.
    """
    rng = np.random.default_rng(seed)
    style = rng.uniform([-0.6, 0.6, 0.7, 0.01], [0.6, 1.4, 1.4, 0.1], (num, 4))
    digits = rng.integers(len(GLYPHS), size=(num, num_glyphs))
    rows = np.zeros((num, num_glyphs * POINTS, 6))  # Δx, Δy, lifted, digit, start, mask
    for row, (slant, size, rhythm, jitter), written in zip(rows, style, digits, strict=True):
        points = np.concatenate([_written(digit, rhythm, rng) for digit in written])
        points[:, 0] += ADVANCE * (points[:, 4].cumsum() - 1)
        end = len(points)
        path = size * (points[:, :2] @ np.array([[1, 0], [slant, 1]]))
        row[:end, :2] = np.diff(path, axis=0, prepend=path[:1]) + jitter * rng.standard_normal((end, 2))
        row[:end, 2:5] = points[:, 2:]
        row[:end, 5] = 1
    x, glyph, start, mask = np.split(rows, [3, 4, 5], axis=2)
    floats = {"x": x, "start": start[..., 0], "mask": mask[..., 0], "style": style}
    return {name: array.astype(np.float32) for name, array in floats.items()} | {
        "glyph": glyph[..., 0].astype(np.int32)
    }


def _written(digit: int, rhythm: float, rng: np.random.Generator) -> np.ndarray:
    """Write a digit: rows of x, y, 1 where the pen is lifted, the digit, 1 at its first step."""
    parts = []
    for line in GLYPHS[digit]:
        line = (line * [WIDTH, HEIGHT])[:: rng.choice([-1, 1])]
        along = np.append(0, np.hypot(*np.diff(line, axis=0).T).cumsum())
        stops = along[-1] * np.linspace(0, 1, 1 + math.ceil(along[-1] / STEP)) ** rhythm
        part = np.zeros((len(stops), 5))
        part[:, 0] = np.interp(stops, along, line[:, 0])
        part[:, 1] = np.interp(stops, along, line[:, 1])
        part[0, 2], part[:, 3] = 1, digit
        parts.append(part)
    parts[0][0, 4] = 1
    return np.concatenate(parts)


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> np.ndarray:
    """Return points of an ellipse from one angle to another, in degrees."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _line(*corners: float) -> np.ndarray:
    """Return the corners x, y, x, y, … of a line."""
    return np.reshape(corners, (-1, 2))


_PIECES = (
    [[_arc(0.5, 0.5, 0.5, 0.5, 90, 450)]],
    [[_line(0.2, 0.75, 0.55, 1, 0.55, 0)]],
    [[_arc(0.5, 0.7, 0.45, 0.3, 170, -35), _line(0.05, 0, 1, 0)]],
    [[_arc(0.45, 0.75, 0.45, 0.25, 150, -80), _arc(0.45, 0.25, 0.5, 0.25, 80, -150)]],
    [[_line(0.6, 1, 0, 0.35, 1, 0.35)], [_line(0.7, 0.65, 0.7, 0)]],
    [[_line(0.15, 1, 0.1, 0.55), _arc(0.45, 0.3, 0.5, 0.3, 125, -145)], [_line(0.15, 1, 0.9, 1)]],
    [[_arc(0.8, 0.3, 0.75, 0.7, 90, 180), _arc(0.5, 0.3, 0.45, 0.3, 180, 540)]],
    [[_line(0, 1, 1, 1, 0.4, 0)], [_line(0.25, 0.5, 0.9, 0.5)]],
    [[_arc(0.5, 0.75, 0.4, 0.25, -90, 270), _arc(0.5, 0.25, 0.5, 0.25, 90, -270)]],
    [[_arc(0.5, 0.7, 0.4, 0.3, 0, 360), _line(0.9, 0.7, 0.75, 0)]],
)
# Of each digit its lines, [K, 2] in the unit square, y upwards.
GLYPHS = [[np.concatenate(pieces) for pieces in lines] for lines in _PIECES]
