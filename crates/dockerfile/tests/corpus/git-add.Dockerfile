FROM alpine
ADD --keep-git-dir=true https://github.com/moby/buildkit.git#v0.20.0 /src
ADD https://github.com/moby/buildkit.git?branch=master&subdir=docs /docs
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://mirrors.edge.kernel.org/pub/linux/kernel/Historic/linux-0.01.tar.gz /
ADD --unpack=true https://example.com/x.tar.gz /x
ADD rootfs.tar.xz /
