# The whole product in one container; `celery -A attune worker` and `manage.py scheduler` run from the same image.
#   docker build -t attune .
#   docker run -p 3000:3000 -v attune:/opt/attune attune
FROM python:3.11-slim

# What actions need besides Python: git for packs, nodejs and npm for the Node.js runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git nodejs npm tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /opt/attune --shell /usr/sbin/nologin attune

WORKDIR /srv/attune
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt
COPY manage.py ./
COPY apps apps
COPY attune attune
COPY packs packs
COPY settings settings

ENV DJANGO_SETTINGS_MODULE=settings.production \
    PYTHONUNBUFFERED=1 \
    ATTUNE_HOST=0.0.0.0 \
    ATTUNE_PORT=3000 \
    ATTUNE_STATE_DIR=/opt/attune/state \
    ATTUNE_PACKS_DIR=/opt/attune/packs \
    ATTUNE_RUNTIME_ENVS_DIR=/opt/attune/runtime_envs \
    ATTUNE_ARTIFACTS_DIR=/opt/attune/artifacts

USER attune
# A named volume takes over the owner of what it covers, so these directories must exist.
RUN mkdir -p /opt/attune/state /opt/attune/packs /opt/attune/runtime_envs /opt/attune/artifacts
VOLUME /opt/attune
EXPOSE 3000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/health/ready', timeout=5)"]

# Process 1 of the container must collect what daemons leave behind; tini does, and passes signals on.
ENTRYPOINT ["tini", "--"]
CMD ["python", "manage.py", "up"]
