"""What the README shows is run as it stands there."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import JSON, String
from sqlalchemy.orm import mapped_column

from samljit import SamlJit
from samljit.mapping.compile import compile_mapping
from samljit.mapping.document import (
    FieldDocument,
    IdentityDocument,
    MappingDocument,
    PolicyDocument,
    RequirementDocument,
    RolesDocument,
    StepDocument,
)
from samljit.settings.document import GuardsDocument, IdpDocument, SettingsDocument, SpDocument, TenantDocument
from samljit.sql.users import inspect_users
from samljit.testing import Browser, FakeEntra, sign_in
from tests.host import make_user_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ADELE_EMAIL = "adele@contoso.com"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def mount(directory: Path, monkeypatch: pytest.MonkeyPatch, entra: FakeEntra) -> Any:
    """The README's app, run with the example settings, connected to `entra`."""
    settings = json.loads((ROOT / "settings.json.example").read_text())
    subprocess.run([sys.executable, "-m", "samljit.testing", str(directory / "certs")], check=True, capture_output=True)
    (directory / "certs" / "contoso-metadata.xml").write_bytes(entra.metadata())
    (directory / "settings.json").write_text(json.dumps(settings))
    for name, value in {
        "FLASK_SECRET_KEY": "a key of this test",
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{directory}/app.sqlite",
        "FLASK_SAMLJIT_SETTINGS": str(directory / "settings.json"),
    }.items():
        monkeypatch.setenv(name, value)
    module = ModuleType("readme_app")
    module.__file__ = str(directory / "readme_app.py")  # Flask looks for its templates beside it
    monkeypatch.setitem(sys.modules, "readme_app", module)
    exec(compile(blocks("python")[0], "README.md", "exec"), module.__dict__)
    return module.__dict__


def test_the_app_of_the_readme_signs_people_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entra = FakeEntra()
    names = mount(tmp_path, monkeypatch, entra)
    test: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "README.md", "exec"), test)
    browser = Browser({"https://app.example.com": names["app"]})
    page = sign_in(browser, entra, test["ADELE"], "https://app.example.com/")
    assert (page.status, page.url, page.text) == (200, "https://app.example.com/", "Hello None")
    with names["app"].app_context():
        [user] = names["db"].session.query(names["User"]).all()
        assert (user.email, user.first_name, user.is_active) == (ADELE_EMAIL, "Adele", True)
        names["db"].engine.dispose()


def test_mounting_in_an_existing_app_takes_under_25_lines() -> None:
    assert 0 < sum("# new" in line for line in blocks("python")[0].splitlines()) < 25


def test_the_mapping_of_the_readme_is_one_that_loads() -> None:
    model = make_user_model(
        username=mapped_column(String(100)),
        locale=mapped_column(String(10)),
        departments=mapped_column(JSON),
        job_title=mapped_column(String(100)),
        origin=mapped_column(String(10)),
    )
    shape = inspect_users(model, email_field="email", active_field="active", tenant_fields=None).shape(frozenset())
    rules, problems = compile_mapping(json.loads(blocks("json")[0]), shape=shape, path="$")
    assert (rules is not None, problems) == (True, [])


OF_SETTINGS = (SettingsDocument, SpDocument, GuardsDocument, TenantDocument, IdpDocument)
OF_MAPPINGS = (MappingDocument, IdentityDocument, FieldDocument, StepDocument, RolesDocument, PolicyDocument, RequirementDocument)


@pytest.mark.parametrize(
    ("models", "begin", "end"),
    [
        pytest.param(OF_SETTINGS, "## Settings", "## Mapping", id="settings"),
        pytest.param(OF_MAPPINGS, "## Mapping", "## Run it", id="mapping"),
    ],
)
def test_every_key_that_works_is_in_the_readme(models: tuple[type[BaseModel], ...], begin: str, end: str) -> None:
    section = README.partition(f"\n{begin}\n")[2].partition(f"\n{end}\n")[0]
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    assert [key for key in sorted(keys) if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", section)] == []


def test_every_part_of_the_extension_is_in_the_readme() -> None:
    section = README.partition("## Mount it in your app")[2].partition("## Pages")[0]
    arguments = inspect.signature(SamlJit).parameters
    for_the_host = [name for name in vars(SamlJit) if not name.startswith("_") and name != "init_app"]
    assert [name for name in arguments if f"`{name}`" not in section] == []
    assert [name for name in for_the_host if not re.search(rf"saml\.{name}\b", section)] == []


def test_every_table_is_in_the_readme() -> None:
    model = make_user_model()
    inspect_users(model, email_field="email", active_field="active", tenant_fields=None)
    tables = [name for name in model.metadata.tables if name.startswith("samljit_")]
    assert [name for name in tables if f"`{name}`" not in README] == []
    assert len(tables) > 5


MODULES = [line for block in blocks("sh") for line in block.splitlines() if " -m " in line and "venv .venv" not in line]


@pytest.mark.parametrize("command", MODULES)
def test_every_module_that_the_readme_runs_is_there(command: str) -> None:
    module = re.search(r"-m (\S+)", command)
    assert module is not None
    done = subprocess.run([sys.executable, "-m", module[1], "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "usage" in done.stdout.lower()) == (0, True)
