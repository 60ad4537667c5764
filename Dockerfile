# docker build -t spire-injector/spire-injector:dev .
# docker build -t spire-injector/spire-injector:v1.2.3 --build-arg VERSION=v1.2.3 .
# docker build -t spire-injector/sample:dev --target sample .
#
# Static binaries, nothing else in the image, and a user without a name: there is no /etc/passwd.

FROM golang:1.26 AS build
WORKDIR /src
# The modules first: they are fetched again only when one of these two files changes.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY registrar registrar
COPY templates templates
COPY webhook webhook
ENV CGO_ENABLED=0
ARG VERSION
RUN go build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o /out/ ./cmd/spire-injector ./cmd/sample
# For `spire-injector capture` without root, where a container has NET_ADMIN. Never =ep: with it the kernel starts the
# program in no other container. The copy below keeps it with BuildKit, docker's builder since version 23.
RUN apt-get update && apt-get install --yes --no-install-recommends libcap2-bin \
 && setcap cap_net_admin=p /out/spire-injector

FROM scratch AS sample
COPY --from=build /out/sample /sample
USER 65532:65532
ENTRYPOINT ["/sample"]

# The last stage is what a plain "docker build ." makes.
FROM scratch AS spire-injector
ARG VERSION=dev
LABEL org.opencontainers.image.title=spire-injector org.opencontainers.image.version=$VERSION
COPY --from=build /out/spire-injector /spire-injector
USER 65532:65532
ENTRYPOINT ["/spire-injector"]
