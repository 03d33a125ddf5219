"""Lists a tar archive on stdin, one line per entry: mode, owner, path, and what it is."""
import hashlib, sys, tarfile


def content(data, most):
    try:
        text = data.decode() if len(data) <= most else None
    except UnicodeDecodeError:
        text = None
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:12]}" if text is None else repr(text)


def entry(tar, e, most=100):
    """Text is shown up to so many bytes."""
    line = f"{e.mode:o} {e.uid}:{e.gid} {e.name}"
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
        line += f" {content(tar.extractfile(e).read(), most)}"
    for name, value in sorted(e.pax_headers.items()):
        if name.startswith("SCHILY.xattr."):
            line += f" {name[13:]}={value}"
    return line


if __name__ == "__main__":
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        for e in tar:
            print(entry(tar, e))
