"""`polycli serve`: what it opens, where it listens, how it ends, and what is in the package."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import polycli
from polycli import __main__ as entry
from polycli.errors import CheckpointError, MissingDependencyError, UserError
from polycli.page import serve as serving
from polycli.page.assets import load_assets
from polycli.page.serve import ServeRequest, address_of, listen, open_library, serve

EVERYWHERE = "0.0.0.0"  # noqa: S104  # What a user may ask for.


def lines_of(survey, *options):
    return [sys.executable, "-m", "polycli", "serve", str(survey), "--port", "0", *options]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_says_where_it_is_answers_and_ends_calmly(survey, number):
    process = subprocess.Popen(lines_of(survey), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(  # noqa: S310  # Our own.
            f"{address}api/about", timeout=60
        ) as answer:
            assert json.load(answer)["name"] == "survey.parquet"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "the server has ended"


def test_without_the_packages_of_the_extra_the_line_that_installs_them_is_said(survey, monkeypatch):
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "uvicorn" else True)
    with pytest.raises(MissingDependencyError, match="the page needs uvicorn") as refused:
        serve(ServeRequest(embeddings=survey))
    assert refused.value.hint == "pip install 'polycli[page]'"


def test_a_port_that_is_taken_is_refused_only_if_it_was_asked_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1 port {port}") as refused:
            listen("127.0.0.1", port)
        assert "--port 0" in refused.value.hint
        monkeypatch.setattr(serving, "PORT", port)
        with listen("127.0.0.1", None) as other:
            assert other.getsockname()[1] not in (0, port)


def test_a_host_that_is_not_this_machine_is_refused():
    with pytest.raises(UserError, match=r"cannot listen at 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    with pytest.raises(UserError, match=r"no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0)


def test_addresses_are_what_a_browser_opens(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node7")
    assert address_of(EVERYWHERE, 80) == "http://node7:80/"
    assert address_of("::1", 8765) == "http://[::1]:8765/"


def test_another_host_is_said_to_be_open_to_others(survey, monkeypatch, capsys):
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    serve(ServeRequest(embeddings=survey, host=EVERYWHERE, port=0))
    assert "everybody who reaches this machine can open the page" in capsys.readouterr().err
    serve(ServeRequest(embeddings=survey, port=0))
    assert "everybody" not in capsys.readouterr().err


def test_what_does_not_belong_together_is_refused_before_anything_is_served(survey, tmp_path, capsys):
    assert entry.run(["serve", str(tmp_path / "nothing.parquet")]) == 2
    with pytest.raises(UserError):
        open_library(ServeRequest(embeddings=survey, data=[tmp_path / "no-store.zarr"]))
    with pytest.raises(UserError):
        open_library(ServeRequest(embeddings=survey, checkpoint=tmp_path / "no-run"))


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_served(survey, tmp_path, monkeypatch):
    weights = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, weights)
    with pytest.raises(CheckpointError, match="is another model than that of"):
        open_library(ServeRequest(embeddings=survey, checkpoint=weights))
    monkeypatch.setattr(serving, "hash_of_weights", lambda _: "m")
    assert open_library(ServeRequest(embeddings=survey, checkpoint=weights)).uploads is not None


def test_an_index_answers_if_it_is_asked_for_and_there(survey):
    with pytest.raises(UserError, match="has no index") as refused:
        open_library(ServeRequest(embeddings=survey, index=True))
    assert refused.value.hint == f"polycli search build {survey}"


def test_the_page_is_in_the_package():
    folder = Path(polycli.__file__).parent / "page" / "static"
    files = {path.name for path in folder.iterdir()}
    # Hatch packs all that git does not ignore below `polycli`; a file that the page could not name is none of its own.
    assert files == set(load_assets())
    assert {"index.html", "page.css", "main.js", "map.js", "icon.svg"} <= files
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, folder.iterdir())], check=False, capture_output=True, text=True, cwd=folder
    )
    assert ignored.stdout == ""
