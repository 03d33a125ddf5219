FROM nginx
HEALTHCHECK --interval=5m --timeout=3s --start-period=10s --start-interval=1s --retries=3 \
  CMD curl -f http://localhost/ || exit 1
FROM nginx
HEALTHCHECK NONE
FROM nginx
HEALTHCHECK CMD ["curl", "-f", "http://localhost/"]
FROM nginx
healthcheck   none
