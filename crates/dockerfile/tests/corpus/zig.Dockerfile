FROM alpine:3.22 AS build
ARG ZIG=0.14.0
RUN wget -qO- https://ziglang.org/download/$ZIG/zig-linux-x86_64-$ZIG.tar.xz \
    | tar -xJ -C /opt --strip-components=1
COPY . .
RUN /opt/zig build -Doptimize=ReleaseSafe
