# docker build -t dg_project .   (CPU)
# docker build -t dg_project --build-arg TORCH_BACKEND=cu128 .   (CUDA)
FROM python:3.11-slim

ARG TORCH_BACKEND=cpu
ENV DO_NOT_TRACK=1 KEDRO_DISABLE_TELEMETRY=1 MLFLOW_DISABLE_TELEMETRY=true HF_HUB_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# git: the commit of a run is tracked where the checkout is mounted.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv

WORKDIR /project
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY src src
# The lock's versions; torch's wheels for a backend have other hashes than those on PyPI.
RUN uv pip install --system --no-cache --compile-bytecode --no-verify-hashes --torch-backend="${TORCH_BACKEND}" -c requirements.lock .

COPY . .
RUN useradd --create-home user && chown -R user /project
USER user

ENTRYPOINT ["kedro"]
CMD ["run"]
