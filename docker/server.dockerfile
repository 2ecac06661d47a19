# The gRPC server: chat, to-do list and stock ticker.
#   docker build -f docker/server.dockerfile -t messenger-server .
FROM rust:1.95.0-bookworm AS builder
WORKDIR /build

RUN --mount=type=bind,source=docker/install.sh,target=/tmp/install.sh \
    /tmp/install.sh build

# The dependencies in a layer of their own, under an empty program: the gRPC C
# core takes ten minutes to compile, and a change in src must not repeat that.
# Without the laboratory (messenger compare and bench), which has no place here.
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto/
RUN mkdir -p src tests \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/integration.rs \
    && cargo build --release --locked --no-default-features

# COPY keeps the files' times, which may lie before the empty program's.
COPY src src/
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --no-default-features \
    && strip target/release/messenger

FROM debian:12.11-slim
RUN --mount=type=bind,source=docker/install.sh,target=/tmp/install.sh \
    /tmp/install.sh runtime && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin messenger
COPY --from=builder /build/target/release/messenger /usr/local/bin/messenger

# Tasks survive a new container if this is a volume.
ENV MESSENGER_DATA_DIR=/var/lib/messenger
# Longer than docker stop waits by itself: docker stop --time 40
ENV MESSENGER_DRAIN=30s
RUN install -d -o messenger -m 700 "$MESSENGER_DATA_DIR"
VOLUME /var/lib/messenger

USER messenger
EXPOSE 51075
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 \
    CMD ["messenger", "healthcheck"]
ENTRYPOINT ["messenger", "server"]
