FROM haskell:9.8-slim AS b
WORKDIR /opt/example
RUN cabal update
COPY ./example.cabal /opt/example/example.cabal
RUN cabal build --only-dependencies -j4
COPY . /opt/example
RUN cabal install
CMD ["example"]
