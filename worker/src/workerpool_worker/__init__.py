"""The bundled WorkerPool worker: a Celery app with safe settings and jobs whose effects happen once."""
