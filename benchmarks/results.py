"""Train the systems to their numbers, and write RESULTS.md and the table of systems in README.md.

Commands: python benchmarks/results.py             train what has no result yet
    python benchmarks/results.py cnn dqn           train the rows whose name holds one of these, anew
    python benchmarks/results.py --list            say what there is
    python benchmarks/results.py --write           only write the tables from results.json

A row is one command and one number. Each run is a process of its own, as anyone would start it; the number is
read from its folder, and kept with its time, machine and date in results.json. Sets of TFDS are looked for in
$TFDS_DATA_DIR. Rows of several seeds give the median, the lowest and the highest. What a config is, the table
of the README takes from its docstring.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from rows import FULL, ROWS, Row

from jaxdl.cli import describe

ROOT = Path(__file__).parents[1]
RECORD, PAGE, README = ROOT / "benchmarks" / "results.json", ROOT / "RESULTS.md", ROOT / "README.md"
BEGIN, END = "<!-- systems: python benchmarks/results.py --write -->\n", "<!-- end of systems -->\n"


def machine() -> str:
    """Name the kind of machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}"


def run(row: Row, seed: int) -> tuple[float, float, float]:
    """Train once; return (the number, seconds of CPU, seconds on the wall) of the command."""
    config, *options = row.arguments.split()
    before, began = os.times(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxdl", "train", str(ROOT / "configs" / config), *options]
        subprocess.run([*command, "--seed", str(seed), "--workdir", f"{folder}/run", "--quiet"], check=True)
        after, wall = os.times(), time.monotonic() - began
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
    last = next(logged for logged in reversed(rows) if logged["split"] != "train")
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return row.scale * last[row.metric], seconds, wall


def measure(row: Row) -> dict:
    """Train with each seed; return what results.json keeps."""
    values, seconds, wall = zip(*(run(row, seed) for seed in range(row.seeds)), strict=True)
    kept = {"values": values, "seconds": seconds, "wall": wall}
    kept |= {"machine": machine(), "date": str(date.today())}
    return kept | {"arguments": row.arguments}


def recorded() -> dict:
    """Read what is kept."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def page(record: dict) -> str:
    """Write RESULTS.md from what is kept."""
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/results.py`, which anyone can rerun. Every number is of",
        "test data (of the validation, if a system has no test), by the command in its row with seed 0; a",
        "row of several seeds gives the median (lowest to highest) of seeds 0, 1, ... Seconds are those of",
        "one run: of CPU, and on the wall, where other work may have run beside.",
        "",
        "| system | reached | asked | reference | `jaxdl train configs/` | CPU s | wall s | machine | date |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        kept = record.get(row.name)
        if kept is None or kept["arguments"] != row.arguments:
            continue
        cells = (
            *(
                row.name,
                reached(kept),
                asked(row),
                row.reference or "–",
            ),
            *(
                f"`{row.arguments}`",
                f"{statistics.median(kept['seconds']):.0f}",
                f"{statistics.median(kept['wall']):.0f}" if "wall" in kept else "–",
                kept["machine"],
                kept["date"],
            ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Rows of the size that two cores train in about an hour may miss what is asked or reported by it.",
        "These are full sizes for a GPU, which have not been run here:",
        "",
        "| system | `jaxdl train configs/` |",
        "|---|---|",
        *(f"| {name} | `{arguments}` |" for name, arguments in FULL.items()),
    ]
    return "\n".join(lines) + "\n"


def asked(row: Row) -> str:
    """Write the number that a row is to reach."""
    return "–" if row.target is None else f"{'≥' if row.maximize else '≤'} {row.target:g}".replace("-", "−")


def reached(kept: dict) -> str:
    """Write the number of a row."""
    values = kept["values"]
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{statistics.median(values):.4g}".replace("-", "−") + spread.replace("-", "−")


def systems(record: dict) -> str:
    """Write the README's table: what each config says of itself, and the numbers of its first row."""
    lines = [
        "| config | system | paper | data | expected | measured |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted((ROOT / "configs").glob("[!_]*.py")):
        facts = describe(path)
        rows = [row for row in ROWS if row.arguments.split()[0] == path.name and row.name in record]
        current = [row for row in rows if record[row.name]["arguments"] == row.arguments][:1]
        measured = "".join(f"[{reached(record[row.name])}](RESULTS.md)" for row in current) or "–"
        texts = (
            facts[name].rstrip(".").replace("|", "\\|") for name in ("System", "Paper", "Data", "Expected")
        )
        cells = (f"[{path.stem}](configs/{path.name})", *texts, measured)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, record: dict) -> str:
    """Put the table in its place in the README."""
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{systems(record)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Run what is asked for, saving after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    record = recorded()
    if given.list:
        for row in ROWS:
            print(f"{'done   ' if row.name in record else 'missing'}  {row.name}: {row.arguments}")
        return
    for row in [] if given.write else ROWS:
        if any(name in row.name for name in given.names) or not (given.names or row.name in record):
            measured = measure(row)
            record = recorded() | {row.name: measured}  # another process may have written meanwhile
            print(row.name, measured["values"], flush=True)
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(recorded()))
    README.write_text(with_table(README.read_text(), recorded()))


if __name__ == "__main__":
    main()
