# The gateway in a container:
#
#     docker build --build-arg VERSION="$(git describe --tags --always)" -t gateway .
#     docker run -p 8080:8080 --read-only -v gateway-data:/data gateway
#
# It starts as it is and shows the demo's page, without the parts whose services it can't reach:
# point PROMO_SERVICE_URL and RECCO_SERVICE_URL at them, or mount a folder of your own, with
# config.toml and templates/, at /etc/gateway. The root may be read-only; /data is all it writes.
# tests/container/check does these very steps without an engine; it tells when it doesn't know one.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY packages packages
RUN packages/install build
COPY . .
ARG VERSION=unknown
RUN make -j"$(nproc)" VERSION="$VERSION" build/gateway

FROM debian:bookworm-slim
COPY packages/install packages/run /tmp/packages/
RUN /tmp/packages/install run && rm -rf /tmp/packages /var/lib/apt/lists/* && \
    useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin gateway && \
    install -d -o gateway -g gateway /data
COPY --from=build /src/build/gateway /usr/local/bin/gateway
COPY config.toml /etc/gateway/config.toml
COPY templates /etc/gateway/templates
COPY examples/assets /etc/gateway/examples/assets
ENV GATEWAY_LISTEN=0.0.0.0:8080
ENV GATEWAY_DATA=/data
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/gateway", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["run", "-c", "/etc/gateway/config.toml"]
