"""A hub and a download site on this machine."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import safetensors.torch
import torch

from corinth import create_model, dump_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Hub:
    """What a hub serves: repository -> revisions, the newest last, each with its files. `asked` are the requests."""

    url: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # plain downloads by path
    asked: list[str] = field(default_factory=list)
    lies: bool = False  # gives other bytes than it states

    def add(self, repository: str, revision: str, arch: str, state: dict[str, torch.Tensor], **config: Any) -> str:
        """A revision with weights as timm saves them; returns their sha256."""
        weights = safetensors.torch.save({name: t.contiguous() for name, t in state.items()}, {"format": "pt"})
        files = {"model.safetensors": weights, "config.json": json.dumps(timm_config(arch, **config)).encode()}
        self.repositories.setdefault(repository, {})[revision] = files
        return hashlib.sha256(weights).hexdigest()

    def find(self, path: str) -> tuple[bytes, str] | None:
        """The bytes at a path and the revision they are of."""
        if path.strip("/") in self.files:
            return self.files[path.strip("/")], ""
        owner, name, _, revision, file = (*path.strip("/").split("/", 4), "", "", "", "", "")[:5]
        revisions = self.repositories.get(f"{owner}/{name}", {})
        revision = next(reversed(revisions), "") if revision == "main" else revision
        found = revisions.get(revision, {}).get(file)
        return None if found is None else (found, revision)


def timm_config(arch: str, *, num_classes: int = 1000, **changes: Any) -> dict[str, Any]:
    cfg = {"input_size": [3, 64, 64], "mean": MEAN, "std": STD, "crop_pct": 0.9, "interpolation": "bicubic"}
    cfg |= {"license": "apache-2.0", "num_classes": num_classes}
    top = {name: changes.pop(name) for name in ("model_args", "label_names") if name in changes}
    return {"architecture": arch, "num_classes": num_classes, **top, "pretrained_cfg": {**cfg, **changes}}


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            found = hub.find(self.path)
            if found is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data, revision = found
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", revision)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(bytes(len(data)) if hub.lies and revision else data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def state_in(source: Any, arch: str, **options: Any) -> dict[str, torch.Tensor]:
    """A state dict as the peer would have it, every tensor other than a fresh one."""
    torch.manual_seed(len(arch))
    model = create_model(arch, **options)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.01)
    return {name: tensor.clone() for name, tensor in dump_weights(model, source=source).items()}
