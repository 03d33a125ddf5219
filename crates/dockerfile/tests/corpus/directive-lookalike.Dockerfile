
# syntax=not/one
FROM alpine
RUN true
