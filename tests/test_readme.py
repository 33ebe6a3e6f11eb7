"""The README's code runs as it stands."""

import ast
import re
import sys
from pathlib import Path

import pytest

from jaxdl import cli, config

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import results

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = [
    command.strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    for command in line.split("&&")
]


@pytest.mark.parametrize("source", PYTHON, ids=lambda source: source.splitlines()[-1])
def test_python_blocks_run(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("jaxdl train")])
def test_train_commands_name_configs_and_options_that_exist(command):
    _, _, name, *words = command.split()
    function = config.load(config.find(str(ROOT / name)))
    parser = cli.make_parser(options=config.options(function))
    given = vars(parser.parse_args(["train", name, *words]))
    assert set(config.arguments(function, given)) == set(ast_arguments(ROOT / name))


def ast_arguments(path):
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return next([arg.arg for arg in node.args.args] for node in functions if node.name == path.stem)


def test_the_first_screen_holds_the_two_commands():
    first = README[: README.index("## ")].splitlines()
    assert "pip install -e . && jaxdl train configs/vae_digits.py" in first
    assert 'pip install -e ".[test]" && pytest' in first
    assert len(first) < 40


def test_the_table_holds_every_config():
    rows = re.findall(r"^\| \[(\w+)\]\((configs/.*?)\) \|", README, re.M)
    assert [name for name, _ in rows] == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
    for _, target in rows:
        assert (ROOT / target).is_file()


def test_the_tables_are_what_the_configs_and_the_results_say():
    record = results.recorded()
    assert results.with_table(README, record) == README, "run python benchmarks/results.py --write"
    assert results.page(record) == (ROOT / "RESULTS.md").read_text()


def test_every_config_has_a_row_of_results_that_names_options_it_has():
    measured = {row.arguments.split()[0] for row in results.ROWS}
    assert measured == {path.name for path in (ROOT / "configs").glob("*.py")}
    assert len({row.name for row in results.ROWS}) == len(results.ROWS)
    assert results.FULL.keys() <= {row.name for row in results.ROWS}
    for arguments in [*(row.arguments for row in results.ROWS), *results.FULL.values()]:
        name, *words = arguments.split()
        options = config.options(config.load(ROOT / "configs" / name))
        cli.make_parser(options=options).parse_args(["train", name, *words])


def test_its_picture_is_there():
    for target in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / target).is_file()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_options_that_pages_name_are_there(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", str(ROOT / "configs" / "vae_digits.py"), "--help"])
    known = set(re.findall(r"--[a-z][a-z0-9-]+", capsys.readouterr().out))
    runs = (ROOT / "docs" / "runs.md").read_text()
    assert set(re.findall(r"--[a-z][a-z0-9-]+", runs)) <= known
