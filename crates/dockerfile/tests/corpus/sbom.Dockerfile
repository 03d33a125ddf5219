ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
FROM alpine AS build
ARG BUILDKIT_SBOM_SCAN_STAGE=true
WORKDIR /src
COPY . .
FROM scratch
COPY --from=build /src/out /
