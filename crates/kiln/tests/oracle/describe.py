"""Tells what is in the OCI archives of a folder: X.tar becomes X.txt.

Left out is what differs from build to build, and the layers of base images: ids, sizes, times of folders that nobody
fixed, and times since the tests were written, which read `now`.

usage: describe.py FOLDER DIFF-ID-OF-A-BASE...
"""
import hashlib, io, json, os, sys, tarfile, datetime

BASES = set(sys.argv[2:])
# 2026-01-01
RECENT = 1767225600
# No case asks for a later time of its folders.
FIXED = 1650000000


def time(seconds):
    return "now" if seconds >= RECENT else f"{seconds:.9f}".rstrip("0").rstrip(".")


def date(text):
    if not text:
        return repr(text)
    seconds = datetime.datetime.fromisoformat(text[:19] + "+00:00").timestamp()
    return "now" if seconds >= RECENT else text


def content(data):
    try:
        text = data.decode() if len(data) <= 600 else None
    except UnicodeDecodeError:
        text = None
    return repr(text) if text is not None else f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:12]}"


def entry(tar, e):
    when = "-" if e.isdir() and e.mtime > FIXED else time(e.mtime)
    line = f"  {e.mode:o} {e.uid}:{e.gid} {when} {e.name.removeprefix('./')}"
    if e.isdir():
        line += "/"
    elif e.issym():
        line += f" -> {e.linkname}"
    elif e.islnk():
        line += f" == {e.linkname}"
    elif e.ischr() or e.isblk():
        line += f" {'c' if e.ischr() else 'b'} {e.devmajor}:{e.devminor}"
    elif e.isfifo():
        line += " p"
    else:
        line += " " + content(tar.extractfile(e).read())
    xattrs = {k[13:]: v for k, v in e.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    return line + "".join(f" {name}={value!r}" for name, value in sorted(xattrs.items()))


def layer(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [entry(tar, e) for e in tar]


def history(step):
    empty = " (no layer)" if step.get("empty_layer") else ""
    author = f" by {step['author']}" if "author" in step else ""
    return f"  {date(step.get('created'))}{empty}{author}: {step.get('created_by', '')}".replace("\n", "\\n")


def image(blob, manifest, out):
    config = blob(manifest["config"])
    diff_ids = config.pop("rootfs")["diff_ids"] or []
    steps = config.pop("history", None) or []
    config["created"] = date(config.get("created"))
    out.append("config " + json.dumps(config, sort_keys=True, indent=1, ensure_ascii=False))
    out += ["history"] + [history(step) for step in steps]
    for number, (diff_id, descriptor) in enumerate(zip(diff_ids, manifest["layers"] or []), 1):
        if diff_id in BASES:
            out.append(f"layer {number} of a base")
            continue
        notes = "".join(f" {k}={v}" for k, v in sorted(descriptor.get("annotations", {}).items()) if "digest" not in k)
        out.append(f"layer {number}{notes}")
        out += layer(blob(descriptor, raw=True))


def describe(path):
    out = []
    with tarfile.open(path) as tar:
        members = {m.name: m for m in tar}

        def blob(descriptor, raw=False):
            name = "blobs/" + descriptor["digest"].replace(":", "/")
            data = tar.extractfile(members[name]).read()
            return data if raw else json.loads(data)

        index = json.load(tar.extractfile(members["index.json"]))
        # The one manifest of the archive is an index where there are several platforms.
        (top,) = index["manifests"]
        top = blob(top)
        for one in top.get("manifests", [None]):
            if one:
                out.append("platform " + json.dumps(one["platform"], sort_keys=True))
            image(blob, blob(one) if one else top, out)
    return out


for name in os.listdir(sys.argv[1]):
    if name.endswith(".tar"):
        path = os.path.join(sys.argv[1], name)
        with open(path.removesuffix(".tar") + ".txt", "w") as file:
            file.write("\n".join(describe(path)) + "\n")
