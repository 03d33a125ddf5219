FROM python:3.13
RUN <<EOT
#!/usr/bin/env python3
import sys
print(sys.version)
# copy me
EOT
COPY --chmod=755 <<'EOF' /entrypoint.sh
#!/bin/sh
exec "$@"
EOF
ENTRYPOINT ["/entrypoint.sh"]
