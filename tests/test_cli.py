"""The command `samljit`: what it prints and its exit codes, as the real command where a process matters."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from samljit.cli import main
from samljit.demo.servers import CannotListen, listen
from tests.running_demo import command, free_port, running_demo

EXAMPLE = Path(__file__).parent.parent / "settings.json.example"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def write_settings(directory: Path, **settings: object) -> str:
    path = directory / "settings.json"
    path.write_text(json.dumps(settings))
    return str(path)


def test_it_tells_its_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.output.split()[-1]) == (0, version("samljit"))


def test_the_schema_is_json_schema_and_accepts_the_example() -> None:
    result = run("schema")
    schema = json.loads(result.output)
    Draft202012Validator.check_schema(schema)
    example = json.loads(EXAMPLE.read_text())
    assert (result.exit_code, list(Draft202012Validator(schema).iter_errors(example))) == (0, [])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"tenant": {}}, [], id="unknown-key"),
        pytest.param({"clock_skew_seconds": 301}, ["clock_skew_seconds"], id="too-large"),
        pytest.param({"tenants": {"Contoso": {"name": "Contoso"}}}, ["tenants"], id="slug"),
    ],
)
def test_the_schema_refuses_what_is_wrong(change: dict[str, object], path: list[str]) -> None:
    document = json.loads(EXAMPLE.read_text()) | change
    errors = list(Draft202012Validator(json.loads(run("schema").output)).iter_errors(document))
    assert [list(error.path) for error in errors] == [path]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["demon"], id="unknown-command"),
        pytest.param(["demo", "--port", "0"], id="no-such-port"),
        pytest.param(["demo", "--port", "65535"], id="no-room-for-the-second-port"),
        pytest.param(["demo", "--settings", "/nowhere/settings.json"], id="no-such-file"),
        pytest.param(["demo", "--settings", str(EXAMPLE), "--port", "5000"], id="port-with-settings"),
        pytest.param(["demo", "--database", "northwind.sqlite"], id="no-url"),
        pytest.param(["demo", "--database", "nosuch://host/name"], id="no-such-database"),
    ],
)
def test_wrong_usage_is_2(arguments: Sequence[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout, "Traceback" in result.stderr) == (2, "", False)


def test_every_problem_of_the_settings_is_printed(tmp_path: Path) -> None:
    path = write_settings(tmp_path, base_url="http://localhost:5000", tenant={}, clock_skew_seconds=900)
    result = run("demo", "--settings", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]] == ["- $.clock_skew_seconds", "- $.tenant"]


@pytest.mark.parametrize("base_url", ["https://app.example.com", "https://localhost:5000"])
def test_only_plain_http_on_this_machine_is_served(tmp_path: Path, base_url: str) -> None:
    result = run("demo", "--settings", write_settings(tmp_path, base_url=base_url))
    assert (result.exit_code, "$.base_url" in result.stderr) == (1, True)


@pytest.mark.parametrize("offset", [pytest.param(0, id="the-app"), pytest.param(1, id="fake-entra")])
def test_a_port_that_is_taken_is_one_sentence(offset: int) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + offset)):
        result = subprocess.run([command(), "demo", "--no-browser", "--port", str(port)], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert str(port + offset) in result.stderr
    assert "--port" in result.stderr


def test_a_listener_on_every_address_is_noticed_too() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as error:
            listen("localhost", port)
    assert error.value.port == port


def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(tmp_path: Path) -> None:
    lost = "postgresql+psycopg://northwind:secret-word@127.0.0.1:1/northwind?connect_timeout=2"
    result = run("demo", "--no-browser", "--port", str(free_port()), "--database", lost)
    assert (result.exit_code, "Traceback" in result.output, "secret-word" in result.output) == (1, False, False)


def test_settings_are_served_where_their_base_url_says(tmp_path: Path) -> None:
    port = free_port()
    tenant = {"name": "Contoso", "entra_tenant_id": "aaaabbbb-0000-cccc-1111-dddd2222eeee", "mapping": {"fields": {"email": "name"}}}
    path = write_settings(tmp_path, base_url=f"http://localhost:{port}", tenants={"contoso": tenant})
    database = tmp_path / "northwind.sqlite"
    with running_demo("--settings", path, "--database", f"sqlite:///{database}", port=port) as demo:
        assert (demo.stop(), database.exists()) == (0, True)
        told = demo.process.stdout.read() if demo.process.stdout else ""
    assert f"http://localhost:{port}/saml/contoso/metadata" in told


def test_ctrl_c_ends_it_cleanly() -> None:
    with running_demo() as demo:
        assert demo.stop() == 0
        told = demo.process.stdout.read() if demo.process.stdout else ""
    assert (demo.host in told, demo.entra in told, "Traceback" in told) == (True, True, False)
