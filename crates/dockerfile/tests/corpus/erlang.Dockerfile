FROM erlang:27-alpine
RUN mkdir /buildroot
WORKDIR /buildroot
COPY dockerwatch dockerwatch
WORKDIR dockerwatch
RUN rebar3 as prod release
FROM alpine:3.22
RUN apk add --no-cache openssl ncurses-libs
COPY --from=0 /buildroot/dockerwatch/_build/prod/rel/dockerwatch /dockerwatch
CMD ["/dockerwatch/bin/dockerwatch", "foreground"]
