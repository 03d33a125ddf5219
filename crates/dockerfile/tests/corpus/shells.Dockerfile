FROM debian
SHELL ["/bin/bash", "-euxo", "pipefail", "-c"]
RUN curl -fsSL https://example.com/install.sh | bash
SHELL [ \
  "/bin/sh", \
  "-c" \
]
RUN echo "it's" 'a "quote"' \"x\"
RUN echo "multi \
line string"
RUN ["/bin/bash", "-c", "echo hello"]
RUN [ "a" "b" ] || true
