"""`polycli weights get` and `verify`, against a hub of this machine's own: resumed, checked, and told offline."""

import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch

from polycli import __main__ as entry
from polycli.checkpoints import fetching
from polycli.errors import CheckpointError, PolycliError, UserError

COMMIT = "0" * 39 + "7"
REPOSITORY = "polymathic-ai/specformer"
ADDRESS = f"https://huggingface.co/{REPOSITORY}"


def weights_file() -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {"layer.weight": torch.arange(300_000, dtype=torch.float32)}}, file)
    return file.getvalue()


@pytest.fixture
def hub(monkeypatch):
    """A hub with one repository; `broken` is after how many bytes the first download breaks off."""
    state = SimpleNamespace(files={"specformer.ckpt": weights_file()}, said=None, broken=None, ranges=[], headers=[])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self._answer(body=False)

        def do_GET(self):
            self._answer(body=True)

        def _answer(self, *, body):
            state.headers.append(dict(self.headers))
            if self.path.startswith("/api/models/"):
                siblings = []
                for name, data in state.files.items():
                    sha256 = state.said or hashlib.sha256(data).hexdigest()
                    large = {"sha256": sha256, "size": len(data), "pointerSize": 134}
                    siblings.append({"rfilename": name, "size": len(data), "lfs": large})
                about = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings, "tags": []}
                return self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"}, body)
            data = state.files.get(self.path.rpartition("/")[2])
            if data is None:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            headers = {
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            start = self.headers.get("Range")
            if start and body:
                state.ranges.append(start)
                first = int(start.removeprefix("bytes=").partition("-")[0])
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
                return self._send(206, data[first:], headers, body)
            if body and state.broken is not None:
                part, state.broken = data[: state.broken], None
                self.send_response(200)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(part)
                self.wfile.flush()
                self.close_connection = True
                return None
            return self._send(200, data, headers, body)

        def _send(self, code, data, headers, body):
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield state
    server.shutdown()
    server.server_close()


def get(*words):
    return entry.run(["weights", "get", *map(str, words)])


def test_weights_are_fetched_by_name_and_their_hash_is_kept_beside_them(hub, tmp_path, capsys):
    assert get("SpecFormer", "--output", tmp_path / "w", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    data = hub.files["specformer.ckpt"]
    path = tmp_path / "w" / "specformer.ckpt"
    assert path.read_bytes() == data
    assert document["path"] == str(path)
    assert (document["sha256"], document["verified"]) == (hashlib.sha256(data).hexdigest(), True)
    assert document["commit"] == COMMIT
    assert entry.run(["weights", "verify", str(path)]) == 0
    out = capsys.readouterr().out
    assert "whole, 300,000 numbers in 1 tensors, all finite" in out
    assert "as specformer.ckpt.sha256 states it" in out
    assert all("Authorization" not in headers for headers in hub.headers), "no token is ever sent"


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tmp_path, monkeypatch):
    # The client keeps whole chunks, which are larger than this file.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub.broken = 200_000
    for _ in range(2):  # The client may try again by itself, or the user does.
        if get("specformer", "--output", tmp_path) == 0:
            break
    assert (tmp_path / "specformer.ckpt").read_bytes() == hub.files["specformer.ckpt"]
    assert hub.ranges, "it asked for the rest alone"
    assert not hub.ranges[0].startswith("bytes=0-")


def test_a_file_of_another_hash_is_refused(hub, tmp_path):
    hub.said = "f" * 64
    with pytest.raises(CheckpointError, match="the hub describes ffff"):
        fetching.fetch(REPOSITORY, tmp_path, address=ADDRESS)


def test_several_files_of_weights_are_named_and_one_can_be_chosen(hub, tmp_path):
    hub.files["other.ckpt"] = b"x"
    with pytest.raises(UserError, match=r"there are specformer\.ckpt, other\.ckpt") as refused:
        fetching.fetch(REPOSITORY, tmp_path, address=ADDRESS)
    assert refused.value.hint == "--file NAME chooses one"
    assert fetching.fetch(REPOSITORY, tmp_path, address=ADDRESS, file="other.ckpt").path.read_bytes() == b"x"


def test_offline_it_says_what_to_fetch_from_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert get("specformer", "--output", tmp_path) == 1
    said = capsys.readouterr().err
    assert f"download it from {ADDRESS}; then: polycli weights verify FILE" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_without_the_client_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "find_spec", lambda _: None)
    with pytest.raises(PolycliError, match="needs the package huggingface_hub") as refused:
        fetching.fetch(REPOSITORY, tmp_path, address=ADDRESS)
    assert ADDRESS in refused.value.hint


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mpp-avit-ti", "lies in a folder that is opened in a browser"),
        ("Ti", "drive.google.com"),
        ("xval", "the project published no weights"),
        ("specfromer", "did you mean specformer"),
    ],
)
def test_what_cannot_be_fetched_by_name_says_where_it_is(name, said, tmp_path, capsys):
    assert get(name, "--output", tmp_path) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "truncated"),
        (lambda path: path.with_name("a.ckpt.sha256").write_text("0" * 64 + "  a.ckpt\n"), "a.ckpt.sha256 states 0000"),
        (lambda path: torch.save({"x": torch.tensor([1.0, float("nan")])}, path), "x holds values that are not finite"),
        (lambda path: path.write_bytes(b"<html>not found</html>"), "a file of no known kind"),
    ],
)
def test_a_download_that_is_not_what_it_should_be_is_refused(tmp_path, capsys, damage, said):
    path = tmp_path / "a.ckpt"
    path.write_bytes(weights_file())
    damage(path)
    assert entry.run(["weights", "verify", str(path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
