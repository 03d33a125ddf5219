FROM debian:bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends bc bison build-essential flex libelf-dev libssl-dev && rm -rf /var/lib/apt/lists/*
ADD https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.tar.xz /
RUN tar xf linux-6.12.tar.xz && cd linux-6.12 && \
    make defconfig && \
    for opt in CONFIG_A CONFIG_B; do \
        scripts/config --enable $opt; \
    done && \
    make -j$(nproc) bzImage
FROM scratch AS export
COPY --from=build /linux-6.12/arch/x86/boot/bzImage /
