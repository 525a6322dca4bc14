"""Hostile and mistaken requests: each is refused at once, in OpenAI's shape, and the server lives on."""

import contextlib
import json
import socket
import time

import httpx
import openai
import pytest

GOOD = {"model": "thinker", "messages": [{"role": "user", "content": "red ball"}]}


def post(rig, body=None, **options):
    if "content" not in options:
        options["json"] = {**GOOD, **(body or {})}
    return httpx.post(f"{rig.url}/v1/chat/completions", timeout=20, **options)


def raw(rig, *parts: bytes, seconds: float = 10) -> bytes:
    """What the server says to these bytes, until it closes or has said what is wrong; TimeoutError if it waits on."""
    with socket.create_connection(("127.0.0.1", rig.port), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65_536):
                received += chunk
                if b"\r\n\r\n" in received and b'"error"' in received:
                    break
        return received


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/chat/completions", "/nowhere"])
@pytest.mark.parametrize("host", ["evil", "evil:8000", "127.0.0.1.evil.org", "localhost@evil", "127.0.0.1:x", ""])
def test_a_foreign_host_is_400_on_any_route(rig, path, host) -> None:
    reply = httpx.get(rig.url + path, headers={"Host": host})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_let_in(rig, host) -> None:
    assert httpx.get(f"{rig.url}/health", headers={"Host": host.format(port=rig.port)}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_are_403_and_nothing_runs(rig, headers) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        reply = post(rig, content=json.dumps(GOOD), headers={**headers, "Content-Type": kind})
        assert reply.status_code == 403
    assert httpx.get(f"{rig.url}/health", headers={**headers, "Upgrade": "websocket"}).status_code == 403
    assert rig.loaded == {}


def test_the_servers_own_origin_is_let_in(rig) -> None:
    assert post(rig, headers={"Origin": rig.url}).status_code == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"chat_template_kwargs": {"x": 1}}, "chat_template_kwargs"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 4097}, "max_completion_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"min_thinking_tokens": 9, "max_thinking_tokens": 8}, "min_thinking_tokens"),
        ({"n": 1000}, "n"),
        ({"n": 0}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}, "messages.1"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}, *GOOD["messages"]]}, "messages.0"),
        ({"messages": [{"role": "user", "content": "x" * 100_001}]}, "messages"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"title": "x" * 50_000}}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "thing"}}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"uniqueItems": True}}}},
            "response_format.json_schema.schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"$ref": "http://169.254.169.254/"}},
                }
            },
            "response_format.json_schema.schema",
        ),
    ],
)
def test_requests_that_cannot_be_met_are_400_at_once(rig, change, param) -> None:
    reply = post(rig, change)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert rig.loaded == {}


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#/nope"}, {"$dynamicRef": "http://169.254.169.254/"}, {"$id": "http://169.254.169.254/", "$ref": "x"}],
)
def test_a_schema_that_is_not_whole_is_400_however_little_of_it_is_enforced(rig, schema) -> None:
    wanted = {"type": "json_schema", "json_schema": {"schema": schema, "strict": False}}
    reply = post(rig, {"response_format": wanted})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"] == "response_format.json_schema.schema"


def test_fields_that_ask_for_nothing_are_let_through(rig) -> None:
    neutral = {"logprobs": False, "tools": [], "frequency_penalty": 0, "user": "u", "logit_bias": None, "stop": None}
    assert post(rig, neutral).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"model": "thinker", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "thinker", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"model": "thinker", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": 7, "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "thinker", "messages": [{"role": "root", "content": "x"}]}',
        b'{"model": "thinker", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
    ],
)
def test_bodies_that_are_no_request_are_400(rig, body) -> None:
    reply = post(rig, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize("depth", [150, 5_000])
def test_a_schema_nested_too_deep_is_refused_and_the_server_lives(rig, depth) -> None:
    deep = b'{"type":"array","items":' * depth + b"{}" + b"}" * depth
    start = json.dumps(GOOD)[:-1].encode() + b', "response_format": {"type": "json_schema", "json_schema": {"schema": '
    reply = post(rig, content=start + deep + b"}}}", headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert post(rig).status_code == 200


@pytest.mark.parametrize(
    "name", ["thinkr", "../../etc/passwd", "/etc/passwd", "thinker\x00", "\u202ethinker", "a" * 256]
)
def test_unknown_models_are_404_with_the_nearest_name(rig, name) -> None:
    reply = post(rig, {"model": name})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        rig.client.chat.completions.create(**{**GOOD, "model": name})
    if name == "thinkr":
        assert "Did you mean 'thinker'?" in reply.json()["error"]["message"]


def test_other_content_types_are_415(rig) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert post(rig, content=json.dumps(GOOD), headers={"Content-Type": kind}).status_code == 415


def test_unknown_paths_and_methods_have_openais_shape(rig) -> None:
    assert httpx.get(f"{rig.url}/v1/engines").json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{rig.url}/v1/chat/completions").status_code == 405
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert httpx.get(rig.url + path).status_code == 404


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_declared_body_over_the_limit_is_413_before_it_is_sent(rig) -> None:
    reply = raw(rig, HEAD + b"Content-Length: 100000000000\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413")
    assert b"request_too_large" in reply


def test_a_chunked_body_over_the_limit_is_413_before_it_ends(rig) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    reply = raw(rig, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 16)
    assert reply.startswith(b"HTTP/1.1 413")


def test_a_body_that_never_ends_is_408(start) -> None:
    with start(request_seconds=0.2) as rig:
        assert raw(rig, HEAD + b"Content-Length: 100\r\n\r\n{").startswith(b"HTTP/1.1 408")


def test_a_head_that_never_ends_is_dropped(start) -> None:
    with start(request_seconds=0.2) as rig:
        assert raw(rig, b"GET /health HTTP/1.1\r\nHost: local") == b""


def test_a_second_request_that_never_ends_is_dropped_too(start) -> None:
    with start(request_seconds=0.2) as rig, socket.create_connection(("127.0.0.1", rig.port), timeout=10) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in slow.recv(65_536)
        slow.sendall(b"GET /health HT")
        rest = b""
        with contextlib.suppress(ConnectionError):
            while more := slow.recv(65_536):
                rest += more
        assert b"HTTP/1.1" not in rest


def test_a_thousand_slow_connections_are_capped_and_others_served(start) -> None:
    with start(max_connections=50) as rig, contextlib.ExitStack() as stack:
        slow = []
        for number in range(1_000):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", rig.port), timeout=10))
            connection.sendall(b"GET /he" if number % 2 else HEAD + b"Content-Length: 100\r\n\r\n{")
            slow.append(connection)
        assert post(rig).status_code == 200
        assert _still_open(slow) <= 50


def test_running_answers_survive_a_flood_of_slow_connections(start) -> None:
    with start(max_connections=20) as rig, contextlib.ExitStack() as stack:
        stream = rig.client.chat.completions.create(
            model="thinker", messages=[{"role": "user", "content": "wait on"}], stream=True
        )  # returns with the first piece
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", rig.port), timeout=10)).sendall(b"GET")
        rig.loaded["thinker"].gate.set()
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == "I saw wait on"


def _still_open(connections: list[socket.socket]) -> int:
    time.sleep(0.2)
    count = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            count += connection.recv(1) != b""
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count
