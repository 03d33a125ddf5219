FROM busybox
MAINTAINER Some One <some@example.com>
LABEL vendor ACME Incorporated
LABEL "com.example.vendor"="ACME Incorporated"
LABEL com.example.label-with-value="foo" version="1.0"
ENV PATH /opt/bin:$PATH
ENV GREETING hello   there
