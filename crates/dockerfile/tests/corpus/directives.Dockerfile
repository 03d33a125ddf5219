# syntax = docker/dockerfile:1
# check=skip=JSONArgsRecommended;error=true
# escape = \
# not a directive
FROM alpine
CMD echo hi
