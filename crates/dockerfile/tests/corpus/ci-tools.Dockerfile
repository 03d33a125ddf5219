FROM alpine:3.22@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1
RUN apk add --no-cache \
  bash \
  curl \
  git # a shell comment
RUN --mount=from=docker/buildx-bin:latest,source=/buildx,target=/buildx cp /buildx /usr/local/bin
