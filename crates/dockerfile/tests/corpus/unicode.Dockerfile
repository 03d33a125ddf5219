# Ünïcödé
FROM alpine AS b
LABEL "grüße"="an   alle" emoji="🐳"
RUN echo "naïve café" \
  && echo ✓
