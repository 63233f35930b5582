# raccord in two stages: built with the toolchain, run with next to nothing.
#   docker build -t raccord .
#   docker run -p 8080:8080 --env-file hub.env \
#     -v ./config:/hub/config:ro -v ./pipelines:/hub/pipelines:ro -v raccord-data:/hub/data raccord
# The hub's folder is /hub: config/ and pipelines/ to read, data/ to keep, and in/, out/ where pipelines use files.
# In a container `listen:` of config/raccord.yaml must be 0.0.0.0:8080, or nobody outside reaches it.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# The caches stay with the builder: only the binary goes on.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin raccord \
    && install -D --strip target/release/raccord /out/raccord

FROM debian:bookworm-slim
# Root certificates, so that targets can be reached over TLS; time zones by name, for schedules and dates.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /hub --no-create-home --shell /usr/sbin/nologin raccord \
    && install -d -o raccord -g raccord /hub /hub/config /hub/pipelines /hub/data
COPY --from=build /out/raccord /usr/local/bin/raccord
USER raccord
WORKDIR /hub
# data/ holds what was accepted and is not delivered yet: a volume on a local disk, never thrown away with the container.
# One volume for the whole folder: volumes declared below it would hide what a person mounts at /hub itself.
VOLUME ["/hub"]
EXPOSE 8080
# Ready means: configuration loaded, store open, room on the disk. Asks the hub itself; the image needs no other tool.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["raccord", "health"]
# SIGTERM stops taking messages in, finishes what is under way (`stop_within`), leaves the rest in the queue.
STOPSIGNAL SIGTERM
ENTRYPOINT ["raccord"]
CMD ["run"]
