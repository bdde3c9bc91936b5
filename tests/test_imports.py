"""What a server process carries along weighs on what is measured."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.parent.name for path in ROOT.glob("impls/*/__main__.py"))

LIST_MODULES = """
import importlib, json, sys
before = set(sys.modules)
module = importlib.import_module("impls.NAME.server")
importlib.import_module("impls.prefork")
# Modules without a spec were not imported: compiled libraries put some there for themselves.
imported = {name.split(".")[0] for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)}
print(json.dumps({"loaded": sorted(imported)}))
"""


def own_distributions(name: str) -> set[str]:
    """Return what the folder of an implementation asks for: the library it stands for, and what that needs."""
    requirements = ROOT / "impls" / name / "requirements.txt"
    return {line.split("==")[0] for line in requirements.read_text().split()} if requirements.exists() else set()


@pytest.mark.parametrize("name", NAMES)
def test_a_server_loads_only_the_standard_library_and_its_own(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIST_MODULES.replace("NAME", name)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(result.stdout)["loaded"])
    own = own_distributions(name)
    distributions = packages_distributions()
    foreign = {
        module
        for module in loaded - sys.stdlib_module_names - {"impls"}
        if not {name.lower() for name in distributions.get(module, [])} & own
    }
    assert not foreign
    assert "harness" not in loaded


@pytest.mark.parametrize("name", [name for name in NAMES if name in own_distributions(name) | sys.stdlib_module_names])
def test_a_folder_named_like_a_library_does_not_hide_it(name: str) -> None:
    code = f"import impls.{name}.server as server, {name} as library; print(server.__file__); print(library.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    server_file, library_file = map(Path, result.stdout.split())
    assert server_file.is_relative_to(ROOT / "impls" / name)
    assert not library_file.is_relative_to(ROOT / "impls")
