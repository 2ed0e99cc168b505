# The server alone: no local stack, no shell script, no root. `docker build -t latchkey .`
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies in a layer of their own, which stays until Cargo.lock changes. Their code is built here; ours is a stub.
# Cargo requires the manifest and a source file of each package of the workspace.
COPY Cargo.toml Cargo.lock ./
COPY release/cargo release/
COPY crates/bench/Cargo.toml crates/bench/
COPY crates/dev/Cargo.toml crates/dev/
RUN mkdir src crates/bench/src crates/dev/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs crates/bench/src/main.rs crates/dev/src/lib.rs \
    && release/cargo build --locked --release -p latchkey

COPY . .
# Cargo goes by the time of change, and the stubs are younger than the sources.
RUN touch src/main.rs src/lib.rs \
    && release/cargo build --locked --release -p latchkey \
    && release/check target/release/latchkey \
    && release/licenses target/THIRD-PARTY-LICENSES

# Not distroless: the health check below wants a shell, and asks without a further program.
FROM debian:bookworm-slim
# Roots for TLS to PostgreSQL, Redis and the mail server.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/target/release/latchkey /usr/local/bin/
COPY --from=build /build/LICENSE-APACHE /build/LICENSE-MIT /build/target/THIRD-PARTY-LICENSES /usr/share/doc/latchkey/

# Within a container only what is published can be reached; do not publish the metrics.
ENV LATCHKEY_LISTEN=0.0.0.0:8000 \
    LATCHKEY_METRICS_LISTEN=0.0.0.0:9464
EXPOSE 8000 9464
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532

# A replica drains on SIGTERM, which reaches it because no shell stands between.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/bin/bash", "-c", \
    "exec 3<>\"/dev/tcp/127.0.0.1/${LATCHKEY_LISTEN##*:}\" && printf 'GET /health/ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["/usr/local/bin/latchkey"]
CMD ["serve"]
