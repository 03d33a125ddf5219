"""Makes the files that cases fetch and unpack, the same bytes each time.

usage: fixtures.py FOLDER
"""
import bz2, gzip, io, lzma, os, subprocess, sys, tarfile

FOLDER = sys.argv[1]
TIME = 1600000000


def write(name, data):
    path = os.path.join(FOLDER, name)
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (TIME, TIME))


def archive(add):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        def member(name, data=b"", **fields):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), TIME, 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
        add(member)
    return buffer.getvalue()


def simple(member):
    member("dir/", type=tarfile.DIRTYPE, mode=0o750, uid=3, gid=4)
    member("dir/file", b"file\n", mode=0o640, uid=1000, gid=1001)
    member("top", b"top\n", mtime=TIME + 100)


def odd(member):
    member("bin/", type=tarfile.DIRTYPE, mode=0o755)
    member("bin/setuid", b"s", mode=0o4755)
    member("bin/hard", type=tarfile.LNKTYPE, linkname="bin/setuid", mode=0o4755)
    member("bin/soft", type=tarfile.SYMTYPE, linkname="setuid", mode=0o777)
    member("bin/out", type=tarfile.SYMTYPE, linkname="/etc/passwd", mode=0o777)
    member("pipe", type=tarfile.FIFOTYPE)
    member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    member("attributed", b"x", pax_headers={"SCHILY.xattr.user.kiln": "yes", "SCHILY.xattr.trusted.t": "no"})
    member("sub/deep/implied", b"i")
    member("n" * 120, b"long name")
    member("umlaut-ä", b"u")
    member("fraction", b"f", mtime=TIME + 0.25)


def over(member):
    """What whiteouts of layers look like is a plain file here."""
    member("kept", b"k")
    member(".wh.other", b"")
    member("d/.wh..wh..opq", b"")


def git(*words, cwd):
    env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", HOME=FOLDER)
    for who in ["AUTHOR", "COMMITTER"]:
        env |= {f"GIT_{who}_NAME": "kim", f"GIT_{who}_EMAIL": "kim@h", f"GIT_{who}_DATE": f"{TIME} +0000"}
    subprocess.run(["git", *words], cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def repository():
    work = os.path.join(FOLDER, "work")
    os.makedirs(os.path.join(work, "sub"))
    files = {
        "Dockerfile": "FROM busybox\nCOPY . /r/\n", "README": "read me\n", "sub/file": "deep\n",
        "sub/Dockerfile": "FROM scratch\nCOPY file /\n", "keep.Dockerfile": "FROM scratch\nCOPY README .git/HEAD /\n",
    }
    for name, text in files.items():
        path = os.path.join(work, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)
    git("init", "-q", "-b", "main", ".", cwd=work)
    git("add", ".", cwd=work)
    git("commit", "-q", "-m", "one", cwd=work)
    git("tag", "-a", "v1", "-m", "v1", cwd=work)
    with open(os.path.join(work, "README"), "a") as file:
        file.write("more\n")
    git("commit", "-q", "-a", "-m", "two", cwd=work)
    bare = os.path.join(FOLDER, "repo.git")
    git("clone", "-q", "--bare", work, bare, cwd=FOLDER)
    git("update-server-info", cwd=bare)


plain = archive(simple)
write("simple.tar", plain)
write("simple.tar.gz", gzip.compress(plain, mtime=0))
write("simple.tar.bz2", bz2.compress(plain))
write("simple.tar.xz", lzma.compress(plain))
write("odd.tar", archive(odd))
write("whiteouts.tar", archive(over))
write("hello.txt", b"hello\n")
# No archive, but "hello\n" as gzip packs it. Spelled out, as versions of Python differ in it.
write("words.gz", bytes.fromhex("1f8b0800000000000003cb48cdc9c9e7020020303a3606000000"))
write("simple.zip", b"PK\5\6" + bytes(18))
context = lambda member: (member("Dockerfile", b"FROM busybox\nCOPY . /c/\n"), member("a.txt", b"a"), member("d/b", b"b"))
write("context.tar.gz", gzip.compress(archive(context), mtime=0))
write("crlf.Dockerfile", b"FROM scratch\r\nLABEL a=b \\\r\n  c=d\r\n")
write("Dockerfile", b"FROM scratch\nLABEL from=web\n")
repository()
subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(FOLDER, "ssh-key")], check=True)
