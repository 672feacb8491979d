# syntax=docker/dockerfile:1

# --- build: the whole workspace's dependencies, one binary -----------------------------
FROM rust:1.95-bookworm AS build
WORKDIR /src
# rust-toolchain.toml is not copied (.dockerignore): this image is the toolchain.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release -p hailmesh --features postgres \
    && install -m 0755 target/release/hailmesh /usr/local/bin/hailmesh

# --- run: Debian without compilers, without root ---------------------------------------
FROM debian:bookworm-slim
# socat carries the API of a container, which listens on loopback only, to its
# neighbours; deploy/entrypoint.sh says when.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates socat \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin hailmesh \
    && install -d -m 0700 -o hailmesh -g hailmesh /data /tokens
COPY --from=build /usr/local/bin/hailmesh /usr/local/bin/hailmesh
COPY --chmod=0755 deploy/entrypoint.sh /usr/local/bin/entrypoint.sh
USER hailmesh
ENV HAILMESH_HOME=/data
VOLUME /data
# QUIC and TCP of the peers. The API stays on loopback inside the container.
EXPOSE 4001/udp 4001/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["hailmesh", "status", "--json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["entrypoint.sh"]
CMD ["--help"]
