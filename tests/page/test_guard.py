"""Foreign pages cannot ask the page's server, and what it sends can load nothing from elsewhere."""

import pytest
from starlette.testclient import TestClient

from polycli.page.app import create_app
from polycli.page.guard import HEADERS, JSON_BYTES, Hosts, host_of
from tests.page.conftest import ADDRESS

EVERYWHERE = "0.0.0.0"  # noqa: S104  # What a user may ask for.


def test_every_answer_has_the_policy_and_is_not_kept(client):
    for answer in (
        client.get("/"),
        client.get("/api/about"),
        client.get("/nothing"),
        client.get("/", headers={"host": "evil.example"}),
        client.post("/api/search", content=b"{"),
    ):
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8765", "localhost:9000", "LOCALHOST", "[::1]:8765", "127.8.9.1"]
)
def test_names_of_this_machine_are_answered_also_through_a_tunnel(client, host):
    assert client.get("/api/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.5",
        "",
        "a@localhost",
        "localhost:x",
        "localhost, evil.example",
    ],
)
def test_a_name_that_dns_could_rebind_is_refused(client, host):
    answer = client.get("/api/about", headers={"host": host})
    assert answer.status_code == 400
    assert "open it at the address that polycli printed" in answer.json()["error"]["message"]


def test_two_hosts_are_none(client):
    answer = client.get("/api/about", headers=[("host", "127.0.0.1"), ("host", "evil.example")])
    assert answer.status_code == 400


def test_a_server_that_is_open_to_others_is_asked_by_its_number_or_name(library, monkeypatch):
    monkeypatch.setattr("polycli.page.guard._own_names", lambda: {"node7", "node7.cluster.example"})
    client = TestClient(create_app(library, Hosts(EVERYWHERE)), base_url="http://10.1.2.3:8765")
    for host in ("10.1.2.3:8765", "node7:8765", "NODE7.cluster.example", "localhost"):
        assert client.get("/api/about", headers={"host": host}).status_code == 200
    assert client.get("/api/about", headers={"host": "evil.example"}).status_code == 400
    assert not Hosts("127.0.0.1").is_open
    assert Hosts(EVERYWHERE).is_open


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765", "https://127.0.0.1"]
)
def test_requests_of_foreign_pages_are_refused(client, origin):
    for answer in (
        client.post("/api/search", json={"row": 1}, headers={"origin": origin}),
        client.get("/api/about", headers={"origin": origin}),
        client.post("/api/upload", files={"file": ("a.fits", b"SIMPLE  = 1")}, headers={"origin": origin}),
    ):
        assert answer.status_code == 403
        assert "only this server's own page may ask" in answer.json()["error"]["message"]


def test_the_own_page_is_answered(client):
    headers = {"origin": ADDRESS, "sec-fetch-site": "same-origin"}
    assert client.post("/api/search", json={"row": 1}, headers=headers).status_code == 200


def test_a_foreign_page_may_link_to_the_page_but_not_load_from_it(client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/api/about", headers=link).status_code == 403
    picture = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/api/image/1", headers=picture).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}).status_code == 403


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client):
    json = {"content-type": "application/json"}
    answer = client.post("/api/search", content=b" " * (JSON_BYTES + 1), headers=json)
    assert answer.status_code == 413
    assert "larger than 4 MiB" in answer.json()["error"]["message"]
    # Without a length, as chunks.
    answer = client.post("/api/search", content=(b" " * 2**20 for _ in range(6)), headers=json)
    assert answer.status_code == 413
    answer = client.post("/api/search", content=b"{}", headers={**json, "content-length": "-1"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("header", "name"),
    [("LocalHost:80", "localhost"), ("[::1]", "::1"), ("a b", None), ("[::1", None), ("x:99999", None)],
)
def test_hosts_are_read_as_names(header, name):
    assert host_of(header) == name
