"""What the cases fetch from: a registry in which every name is an image, and files. Prints its port.

usage: server.py FOLDER      images/NAME are OCI layouts, files/ is served as it is
"""
import glob, http.server, json, os, sys

FOLDER = sys.argv[1]
# Paths of blobs by digest, and of manifests by name.
BLOBS = {"sha256:" + os.path.basename(path): path for path in glob.glob(FOLDER + "/images/*/blobs/sha256/*")}
MANIFESTS = {}
for path in glob.glob(FOLDER + "/images/*"):
    with open(path + "/index.json") as file:
        (manifest,) = json.load(file)["manifests"]
    MANIFESTS[os.path.basename(path)] = BLOBS[manifest["digest"]]


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args):
        super().__init__(*args, directory=FOLDER + "/files")

    def translate_path(self, path):
        path = path.split("?")[0]
        if not path.startswith("/v2/"):
            return super().translate_path(path)
        if path == "/v2/":
            return os.devnull
        name, _, reference = path.rsplit("/", 2)
        if reference.startswith("sha256:"):
            return BLOBS.get(reference, "/nothing")
        return MANIFESTS.get(os.path.basename(name), MANIFESTS["busybox"])

    def guess_type(self, path):
        if path in MANIFESTS.values():
            return "application/vnd.oci.image.manifest.v1+json"
        return super().guess_type(path)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
