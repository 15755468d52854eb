# Builds from the checkout and serves a gallery as a user without rights:
#
#   docker build -t lookalike .
#   docker run --rm -p 127.0.0.1:8000:8000 -e LOOKALIKE_TOKEN=SECRET \
#       --read-only --tmpfs /tmp -v "$PWD/photos.gallery:/gallery" -v "$PWD/photos:$PWD/photos:ro" lookalike
#
# Pictures must lie where they lay when they were indexed. The gallery's folder must be writable for user 10001:
# searching keeps indices and cases in it.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /app
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /app/bin/pip install --no-cache-dir ".[web,geometry]"

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin lookalike
COPY --from=build /app /app
USER 10001
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000), 3)"]
STOPSIGNAL SIGTERM
# without LOOKALIKE_TOKEN whoever reaches the port may search
ENTRYPOINT ["lookalike", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["-g", "/gallery"]
