"""What the cases fetch from: a registry in which every name is an image, and files. Prints its port.

usage: server.py FOLDER      images/NAME are OCI layouts, files/ is served as it is
"""
import http.server, json, os, sys

ROOT = sys.argv[1]
IMAGES = os.path.join(ROOT, "images")


def blob(hex):
    for name in os.listdir(IMAGES):
        path = os.path.join(IMAGES, name, "blobs", "sha256", hex)
        if os.path.exists(path):
            with open(path, "rb") as file:
                return file.read()


def find(path):
    """The content of a path of the registry, with its type and digest."""
    name, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
    if reference.startswith("sha256:"):
        digest = reference
    else:
        own = os.path.join(IMAGES, name.rsplit("/", 1)[-1])
        layout = own if os.path.exists(own) else os.path.join(IMAGES, "busybox")
        with open(os.path.join(layout, "index.json")) as file:
            digest = json.load(file)["manifests"][0]["digest"]
    data = blob(digest.removeprefix("sha256:"))
    media = json.loads(data)["mediaType"] if data and kind == "manifests" else "application/octet-stream"
    return data, media, digest


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args):
        super().__init__(*args, directory=os.path.join(ROOT, "files"))

    def answer(self, with_body):
        path = self.path.split("?")[0]
        data, media, digest = (b"{}", "application/json", "") if path == "/v2/" else find(path)
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def do_GET(self):
        self.answer(True) if self.path.startswith("/v2/") else super().do_GET()

    def do_HEAD(self):
        self.answer(False) if self.path.startswith("/v2/") else super().do_HEAD()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
