FROM ubuntu:24.04
RUN set -ex; \
    savedAptMark="$(apt-mark showmanual)"; \
    apt-get update; \
    apt-get install -y --no-install-recommends gnupg; \
    rm -rf /var/lib/apt/lists/*; \
    \
    case "$(dpkg --print-architecture)" in \
        amd64|i386) suffix=x86;; \
        *) suffix=other;; \
    esac; \
    \
    if [ -n "$suffix" ]; then \
        echo "$suffix"; \
    else \
        exit 1; \
    fi; \
# reset
    apt-mark auto '.*' > /dev/null
