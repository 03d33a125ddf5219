"""Tells what is in the OCI archives of a folder: X.tar becomes X.txt.

Left out is what differs from build to build: ids, sizes, the layers of base images. Times since the tests were written
are `now`. Folders that a build makes have no time: BuildKit writes what a client sends into what it was sent before, and
folders in which something changed are younger than the client's.

usage: describe.py FOLDER DIFF-ID-OF-A-BASE...
"""
import datetime, glob, io, json, sys, tarfile
from list_tar import entry

FOLDER, BASES = sys.argv[1], sys.argv[2:]
# Files of the cases are from then on, and base images older: 2023-11-14.
CASES = 1700000000
# 2025-06-15
RECENT = 1750000000


def time(seconds):
    return "now" if seconds >= RECENT else f"{seconds:.9f}".rstrip("0").rstrip(".")


def date(text):
    recent = text and datetime.datetime.fromisoformat(text[:19] + "+00:00").timestamp() >= RECENT
    return "now" if recent else text


def layer(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for e in tar:
            yield f"  {entry(tar, e, most=400)}" + ("" if e.isdir() and e.mtime >= CASES else f" @{time(e.mtime)}")


def told(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def image(blob, manifest):
    config = json.loads(blob(manifest["config"]))
    diff_ids = config.pop("rootfs")["diff_ids"] or []
    steps = config.pop("history", None) or []
    config |= {f"config.{key}": value for key, value in config.pop("config", {}).items()}
    config["created"] = date(config.get("created"))
    yield from (f"{key} {told(value)}" for key, value in sorted(config.items()))
    for step in steps:
        step["created"] = date(step.get("created"))
        yield f"step {told(step)}"
    for number, (diff_id, descriptor) in enumerate(zip(diff_ids, manifest["layers"] or []), 1):
        notes = {key: value for key, value in descriptor.get("annotations", {}).items() if "digest" not in key}
        yield f"layer {number}" + (" of the base" if diff_id in BASES else f" {told(notes)}" if notes else "")
        if diff_id not in BASES:
            yield from layer(blob(descriptor))


def archive(tar):
    def blob(descriptor):
        return tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()

    # The one manifest of the archive is an index where there are several platforms.
    (top,) = json.load(tar.extractfile("index.json"))["manifests"]
    top = json.loads(blob(top))
    if "config" in top:
        return list(image(blob, top))
    lines = []
    for one in top["manifests"]:
        lines += ["platform " + told(one["platform"]), *image(blob, json.loads(blob(one)))]
    return lines


for path in glob.glob(FOLDER + "/*.tar"):
    with tarfile.open(path) as tar, open(path.removesuffix(".tar") + ".txt", "w") as file:
        file.writelines(line + "\n" for line in archive(tar))
