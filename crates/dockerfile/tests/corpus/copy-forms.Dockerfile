FROM scratch
COPY ["with space.txt", "/dest dir/"]
COPY a* b? [c-d] /x/
COPY --parents ./src/./lib/**/*.c /out/
COPY --exclude=*.md --exclude=docs --link --chmod=u=rwX,go=rX --chown=1:2 . /y/
COPY --from=0 / /z
