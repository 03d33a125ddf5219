FROM scratch
ADD busybox.tar /
COPY --chmod=0755 init /init
CMD ["/init"]
