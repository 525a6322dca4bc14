"""What may be a task, and what its schemas may ask."""

import http.server
import json
import threading

import pytest

from forethought.core.records import PartSpec, Problem
from forethought.errors import DataError, ForethoughtError, UsageError
from forethought.examples.syllogism.solver import SyllogismSolver
from forethought.services import data, tasks
from forethought.services.tasks import Parts
from forethought.services.workbench import Workbench


@pytest.fixture
def bench(tmp_path):
    return Workbench.open(tmp_path / "workspace")


@pytest.fixture
def asked_for():
    """A server on loopback and the paths it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            """Says nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def create(bench, tmp_path, text: str | bytes):
    file = tmp_path / "task.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tasks.create_from_file(bench, file)


def described(**more) -> str:
    return json.dumps({"name": "mine", "instructions": "Do it.", **more})


@pytest.mark.parametrize("field", ["input_schema", "output_schema"])
def test_a_schema_that_points_elsewhere_is_refused_and_nobody_is_asked(bench, tmp_path, asked_for, field):
    url, paths = asked_for
    for schema in (
        {"$ref": f"{url}/schema"},
        {"properties": {"x": {"items": {"$ref": f"{url}/schema#/a"}}}},
        {"$id": f"{url}/root", "$ref": "other"},
        {"$schema": f"{url}/dialect", "$ref": f"{url}/schema"},
        {"$ref": "#/nope"},
        {"$dynamicRef": "#nope"},
    ):
        with pytest.raises(DataError, match=rf"{field}.*refers to"):
            create(bench, tmp_path, described(**{field: schema}))
    assert paths == []


def test_references_within_a_schema_and_properties_of_that_name_are_allowed(bench, tmp_path):
    schema = {
        "$defs": {"amount": {"type": "integer", "$anchor": "money"}},
        "properties": {"a": {"$ref": "#/$defs/amount"}, "b": {"$ref": "#money"}, "$ref": {"const": "http://x/y"}},
        "examples": [{"$ref": "http://127.0.0.1/never"}],
    }
    task = create(bench, tmp_path, described(input_schema=schema))
    tasks.must_fit(task, [{"a": 1, "b": 2, "$ref": "http://x/y"}])
    with pytest.raises(DataError, match=r"\$\.b.*integer"):
        tasks.must_fit(task, [{"a": 1}, {"b": "many"}])


def test_a_schema_stored_before_it_was_checked_asks_nobody(bench, asked_for):
    url, paths = asked_for
    task = tasks.create_example(bench, "loan").model_copy(update={"input_schema": {"$ref": f"{url}/schema"}})
    with pytest.raises(DataError, match="input schema of task 'loan'"):
        data.add_problems(bench, Parts(task), [Problem(task_id=task.id, input="x")])
    assert paths == []


def test_a_pattern_that_takes_for_ever_is_given_up(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "CHECK_SECONDS", 1.0)
    task = create(bench, tmp_path, described(input_schema={"type": "string", "pattern": "^(a+)+$"}))
    with pytest.raises(DataError, match="longer than 1 seconds"):
        tasks.must_fit(task, ["a" * 60 + "!"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "mine", "instructions": "x", "solver": {"name": "policy", "options": {"n": NaN}}}', "NaN"),
        ('{"name": "mine", "instructions": "x", "solver": {"name": "policy", "options": {"n": 1e999}}}', "1e999"),
        ('{"name": "mine", "instructions": "x", "name": "yours"}', "'name' occurs twice"),
        ('{"name": "mine", "instructions": "x", "output_schema": {"type": "a", "type": "b"}}', "'type' occurs twice"),
        ('{"name": "mine", "instructions": "\\ud800"}', "Unicode"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b'{"name": "m\xff"}', "not UTF-8"),
        (b"\x00\x01\x02", "not JSON"),
        ("[]", "list"),
        (described(revision=-5), "'revision'"),
        (described(id="x"), "'id'"),
        (described(created_at="2020-01-01T00:00:00Z"), "'created_at'"),
        (described(version=7), "'version'"),
        (described(name="My Task"), "'name'"),
        (described(instruction="x"), "'instruction'"),
        (described(style=5), "'style'"),
        (described(input_schema={"type": "nonsense"}), "input_schema"),
        (described(input_schema={"pattern": "("}), "input_schema"),
    ],
)
def test_a_file_that_is_no_task_is_refused_in_one_short_line(bench, tmp_path, text, said):
    with pytest.raises(ForethoughtError) as refused:
        create(bench, tmp_path, text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value).replace(str(tmp_path), "")) < 400
    assert tasks.list_all(bench) == []


def test_a_fault_with_a_long_value_is_cut(bench, tmp_path):
    with pytest.raises(ForethoughtError) as refused:
        create(bench, tmp_path, described(**{"x" * 5000: 1}))
    assert len(str(refused.value)) < 500


def test_a_name_that_cannot_be_edited_is_not_taken_at_creation_either(bench):
    tasks.create_example(bench, "loan")
    for field in ("id", "revision", "created_at", "version"):
        with pytest.raises(UsageError, match=f"'{field}'"):
            tasks.edit(bench, "loan", {field: 1})


@pytest.mark.parametrize("options", [{"levels": [3.0]}, {"levels": []}, {"levels": "x"}, {"levels": [10**6]}])
def test_a_generator_that_breaks_on_its_options_is_one_line(bench, options):
    task = tasks.create_example(bench, "syllogism")
    bench.store.edit_task(task.model_copy(update={"generator": PartSpec(name="syllogism", options=options)}))
    with pytest.raises(ForethoughtError, match=r"(?i)syllogism") as refused:
        data.generate(bench, "syllogism", count=2)
    assert "\n" not in str(refused.value)


def test_a_solver_that_breaks_is_one_line(bench, monkeypatch):
    tasks.create_example(bench, "syllogism")
    monkeypatch.setattr(SyllogismSolver, "solve", lambda *_: {}["nothing"])
    with pytest.raises(DataError, match=r"solver 'syllogism' failed: KeyError"):
        data.generate(bench, "syllogism", count=2)


def test_an_edit_that_changes_nothing_makes_no_revision(bench):
    stored = tasks.create_example(bench, "loan")
    same = {"instructions": stored.instructions, "style": stored.style}
    assert tasks.edit(bench, "loan", same) == stored
    assert tasks.edit(bench, "loan", same | {"style": "answer"}).revision == 2
    assert [task.revision for task in bench.store.task_revisions("loan")] == [1, 2]
