FROM swift:6.0 AS build
WORKDIR /package
COPY Package.* ./
RUN swift package resolve
COPY . ./
RUN swift build -c release --static-swift-stdlib
FROM ubuntu:24.04
COPY --from=build /package/.build/release/App /App
CMD ["/App"]
