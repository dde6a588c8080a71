"""The house rules, held by the tools themselves: style, types, layers, and documents that agree with the code."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from samljit.errors import CATALOGUE, Reason, catalogue_markdown

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-m", "ruff", "check", "."], id="ruff"),
        pytest.param([sys.executable, "-m", "mypy"], id="mypy-strict"),
        pytest.param([str(Path(sys.executable).parent / "lint-imports")], id="layers"),
    ],
)
def test_the_code_keeps_the_house_rules(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_reason_is_in_the_catalogue() -> None:
    assert set(CATALOGUE) == set(Reason)


def test_the_readme_shows_the_error_catalogue_as_it_is_in_code() -> None:
    assert catalogue_markdown() in (ROOT / "README.md").read_text()


def test_the_readme_shows_the_layers_as_they_are_checked() -> None:
    readme = (ROOT / "README.md").read_text()
    [shown] = [block for block in readme.split("```") if block.startswith("\ncli ")]
    lines = [line[:39].strip() for line in shown.strip().splitlines()]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    assert lines[:-1] == [layer.replace("samljit.", "") for layer in contract["layers"]]
    assert lines[-1] == "testing"


def test_the_top_level_holds_what_it_should_and_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    top = {name.partition("/")[0] for name in listed if name and not name.startswith(".")}
    wanted = {"pyproject.toml", "README.md", "samljit", "tests", "certs", "settings.json.example", "LICENSE", "CHANGELOG.md"}
    assert top <= wanted


def test_no_key_or_certificate_is_in_git() -> None:
    search = ["git", "grep", "-lE", "BEGIN (RSA |EC )?PRIVATE KEY|BEGIN CERTIFICATE", "--", ":!tests"]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""
