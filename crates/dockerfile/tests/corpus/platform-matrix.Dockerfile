# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM tonistiigi/xx:1.6 AS xx
FROM --platform=$BUILDPLATFORM alpine:3.22 AS build
COPY --from=xx / /
ARG TARGETPLATFORM
RUN apk add clang lld && xx-apk add --no-cache gcc musl-dev
FROM build AS build-amd64
ENV X=amd64
FROM build AS build-arm64
ENV X=arm64
FROM build-${TARGETARCH:-amd64} AS final
