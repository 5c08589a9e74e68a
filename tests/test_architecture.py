# SPDX-License-Identifier: Apache-2.0
"""The house as `docs/architecture.md` draws it: who may import whom, and how large anything may grow. Read from the syntax trees."""

import ast
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ("schemas", "pipelines", "flows", "quality", "warehouse", "simulator")
MODULES = sorted(p for room in HOUSE for p in (ROOT / room).rglob("*.py"))

# room -> what it may import of the house; the longest matching room decides
MAY_SEE = {
    "schemas": {"schemas"},
    "pipelines.core": {"schemas", "pipelines.core"},
    "pipelines.transforms": {"schemas", "pipelines"},
    "pipelines": {"schemas", "pipelines"},
    "quality": {"schemas", "quality", "warehouse"},
    "warehouse": {"schemas", "warehouse", "quality.results"},  # only the rows of the audit pass back, to be published
    "simulator": {"schemas", "simulator"},
    "flows": {"schemas", "pipelines", "quality", "warehouse", "simulator", "flows"},
}
# engine -> the only rooms that may import it
ENGINES = {
    "apache_beam": {"pipelines.launch", "pipelines.transforms", "flows.cluster.worker_pool"},  # the last starts Beam's own workers
    "prefect": {"flows"},
    "great_expectations": {"quality"},
    "duckdb": {"warehouse", "quality.duckdb_engine"},
    "deltalake": {"warehouse"},
    "apprise": {"quality"},
    "cyclopts": {"flows"},
    "confluent_kafka": {"simulator.live", "flows", "pipelines.transforms", "pipelines.kafka"},
}
LATE = {"great_expectations", "prefect"}  # 7 s and 2 s to import: never at the top of a module the command line starts with
MAX_MODULE, MAX_FUNCTION, MAX_QUERY = 300, 60, 120
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "base", "tools"}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str, rooms) -> str | None:
    return max((r for r in rooms if module == r or module.startswith(r + ".")), key=len, default=None)


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module}
    return found


def check_imports(module: str, source: str) -> list[str]:
    """What is wrong with the imports of one module, in words."""
    wrong, seen = [], imports(ast.parse(source))
    allowed = MAY_SEE[room_of(module, MAY_SEE)]
    for name in sorted(seen):
        if room_of(name, HOUSE) and not room_of(name, allowed):
            wrong.append(f"{module} imports {name}")
        engine = name.split(".")[0]
        if engine in ENGINES and not room_of(module, ENGINES[engine]):
            wrong.append(f"{module} imports {engine}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_run_in_one_direction(path: Path):
    assert check_imports(dotted(path), path.read_text()) == []


def test_the_import_rule_can_fail():
    assert check_imports("schemas.x", "import pipelines.core.kernel") == ["schemas.x imports pipelines.core.kernel"]
    assert check_imports("pipelines.core.x", "from pipelines.launch import run_graph\nimport apache_beam") == [
        "pipelines.core.x imports apache_beam", "pipelines.core.x imports pipelines.launch",
    ]  # fmt: skip
    assert check_imports("simulator.x", "from pipelines.core import units") == ["simulator.x imports pipelines.core"]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_heavy_engines_are_imported_where_they_are_used(path: Path):
    top = {
        n.split(".")[0]
        for node in ast.parse(path.read_text()).body
        for n in imports(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    exempt = {"flows.prefect_flow": {"prefect"}, "flows.stream_flow": {"prefect"}, "quality.duckdb_engine": {"great_expectations"}}
    assert top & LATE <= exempt.get(dotted(path), set())


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_nothing_outgrows_a_screen(path: Path):
    source = path.read_text()
    lines = source.count("\n")
    assert lines <= MAX_MODULE, f"{dotted(path)} has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{dotted(path)}.{node.name} has {length} lines"


def test_most_functions_are_short():
    lengths = sorted(
        n.end_lineno - n.lineno + 1
        for p in MODULES for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )  # fmt: skip
    assert lengths[len(lengths) // 2] <= 15
    assert lengths[len(lengths) * 9 // 10] <= 32


@pytest.mark.parametrize("path", sorted((ROOT / "warehouse").rglob("*.sql")), ids=lambda p: str(p.relative_to(ROOT)))
def test_queries_fit_a_screen(path: Path):
    assert path.read_text().count("\n") <= MAX_QUERY


def test_no_module_has_a_name_that_says_nothing():
    assert [dotted(p) for p in MODULES if p.stem in NAMES_THAT_SAY_NOTHING] == []


def test_no_installed_package_takes_our_names():
    ours = packages_distributions()
    for room in HOUSE:
        assert set(ours.get(room, [])) <= {"vnsight"}, f"{room} also comes from {ours[room]}"


def test_every_module_names_its_licence():
    assert [dotted(p) for p in MODULES if not p.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")] == []
