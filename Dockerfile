# Two stages: the wheel is built with Rust, the image holds Python, the wheel and
# onnxruntime. The steps are scripts of their own, so that the tests can run them
# without a Docker engine, as an ordinary user.
#
#   docker build -t serving .
#   docker run --read-only -v "$PWD/model_repo:/models:ro" -p 8080:8080 -p 8081:8081 serving

FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev npm \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust:1-slim-bookworm /usr/local/cargo /usr/local/cargo
COPY --from=rust:1-slim-bookworm /usr/local/rustup /usr/local/rustup
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
WORKDIR /src
COPY . .
RUN deploy/docker/build.sh /wheels

FROM python:3.12-slim-bookworm
# onnxruntime's string operators ask for en_US.UTF-8 unless a model names another locale.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends locales \
    && localedef --inputfile en_US --charmap UTF-8 en_US.UTF-8 \
    && rm -rf /var/lib/apt/lists/*
ENV LANG=en_US.UTF-8
COPY --from=build /wheels /wheels
COPY deploy/docker /opt/docker
# cpu or gpu: which onnxruntime comes along.
ARG RUNTIME=cpu
RUN /opt/docker/install.sh /wheels /opt/serving "$RUNTIME" && rm -rf /wheels
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin serving \
    && mkdir -p /models
ENV PATH=/opt/serving/bin:$PATH
USER 10001
WORKDIR /models
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/opt/docker/health.sh"]
ENTRYPOINT ["/opt/docker/start.sh"]
CMD ["/models"]
