FROM postgres:17
USER root
RUN mkdir -p /data && chown postgres:postgres /data
VOLUME ["/data", "/backup"]
VOLUME /a /b   /c
USER postgres
WORKDIR data
WORKDIR "/with space"
EXPOSE 5432 8080-8090/tcp
STOPSIGNAL 9
