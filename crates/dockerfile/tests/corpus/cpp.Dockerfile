FROM gcc:15 AS build
WORKDIR /src
COPY CMakeLists.txt ./
COPY src/ src/
RUN cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -G Ninja \
 && cmake --build build \
 && ctest --test-dir build --output-on-failure
FROM debian:trixie-slim
COPY --from=build /src/build/app /usr/local/bin/app
