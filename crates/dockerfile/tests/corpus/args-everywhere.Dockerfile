ARG REGISTRY=docker.io
ARG TAG
ARG A=1 B="two words" C='x'
FROM ${REGISTRY}/library/alpine:${TAG:-3.22} AS base
ARG A
ARG D=${A:+set}
ENV E=${D#s} F="${B/ /_}"
LABEL org.opencontainers.image.version=$A \
  org.opencontainers.image.title="An app" \
      org.opencontainers.image.description="It is \
long"
