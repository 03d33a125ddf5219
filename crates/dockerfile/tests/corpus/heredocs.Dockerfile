# syntax=docker/dockerfile:1.7
FROM debian:bookworm
RUN <<EOF
  set -eux
  apt-get update


  apt-get install -y curl   
	rm -rf /var/lib/apt/lists/*
EOF
run <<-"SCRIPT" bash
	#!/bin/bash
	echo "$HOME"
	SCRIPT
COPY <<nginx.conf <<-site.conf /etc/nginx/
server { listen 80; }

nginx.conf
	from here
	site.conf
RUN cat <<A > /a && cat <<B > /b
in a
A
in b
B
