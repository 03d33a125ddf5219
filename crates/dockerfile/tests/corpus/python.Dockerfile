from python:3.13-slim
env PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
run apt-get update && apt-get install -y --no-install-recommends \
      build-essential \
      libpq-dev \
    && rm -rf /var/lib/apt/lists/*
workdir /srv
copy requirements.txt .
run pip install -r requirements.txt
copy . .
expose 8000
cmd ["gunicorn", "-b", "0.0.0.0:8000", "app:app"]
