# The binary alone, on nothing: no shell, no package manager, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/drone-entra/drone-entra/internal/cli.version=${VERSION}" -o /out/drone-entra ./cmd/drone-entra
# A new volume takes over the owner and the mode of what the image has in its place; the record is for one user's eyes.
RUN mkdir -p /out/record && chmod 700 /out/record \
 && echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' > /out/passwd \
 && echo 'nonroot:x:65532:' > /out/group

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/passwd /out/group /etc/
COPY --from=build --chown=65532:65532 /out/record /var/lib/drone-entra
COPY --from=build /out/drone-entra /drone-entra
USER 65532:65532
EXPOSE 3000
VOLUME /var/lib/drone-entra
HEALTHCHECK --interval=10s --timeout=3s --start-period=35s CMD ["/drone-entra", "healthcheck"]
ENTRYPOINT ["/drone-entra"]
CMD ["serve"]
