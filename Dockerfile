# The image contains only the server, which doesn't run as root. Build it with `docker build -t latchkey .`.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# Dependencies have their own layer, which stays cached until Cargo.lock changes. The server's code is a stub here.
# Cargo requires the manifest and a source file of each package of the workspace.
COPY Cargo.toml Cargo.lock ./
COPY release/cargo release/
COPY crates/bench/Cargo.toml crates/bench/
COPY crates/dev/Cargo.toml crates/dev/
COPY crates/domain/Cargo.toml crates/domain/
RUN mkdir src crates/bench/src crates/dev/src crates/domain/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs crates/bench/src/main.rs crates/dev/src/lib.rs crates/domain/src/lib.rs \
    && release/cargo build --locked --release -p latchkey

# `latchkey version` prints the commit: `--build-arg SOURCE_COMMIT="$(git rev-parse --short HEAD)"`. The build context
# contains no checkout. The argument follows the dependencies, so that it doesn't invalidate their layer.
ARG SOURCE_COMMIT
COPY . .
# Cargo compares modification times, and the stubs are newer than the sources.
RUN touch src/main.rs src/lib.rs crates/domain/src/lib.rs \
    && release/cargo build --locked --release -p latchkey \
    && release/check target/release/latchkey \
    && release/licenses target/THIRD-PARTY-LICENSES

# Not distroless, so that operators have a shell in a running container. The server doesn't require one.
FROM debian:bookworm-slim
# Root certificates for TLS to PostgreSQL, Redis, and the SMTP server.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/target/release/latchkey /usr/local/bin/
COPY --from=build /build/LICENSE-APACHE /build/LICENSE-MIT /build/target/THIRD-PARTY-LICENSES /usr/share/doc/latchkey/

# Only published ports can be reached from outside. Don't publish the metrics port.
ENV LATCHKEY_LISTEN=0.0.0.0:8000 \
    LATCHKEY_METRICS_LISTEN=0.0.0.0:9464
EXPOSE 8000
# Numeric, so that Kubernetes can verify that it isn't root.
USER 65532:65532

# A replica drains on SIGTERM, which it receives because no shell runs in between.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/latchkey", "health"]
ENTRYPOINT ["/usr/local/bin/latchkey"]
CMD ["serve"]
