FROM julia:1.11
ENV JULIA_DEPOT_PATH=/opt/julia
COPY Project.toml Manifest.toml /app/
RUN julia --project=/app -e 'using Pkg; Pkg.instantiate(); \
    Pkg.precompile()'
