"""The reference for look-ups: one Flask route, one Redis GET, raw bytes back. No deadline, no breaker, no decoding.

It is served like ours: ``granian --interface wsgi --workers 2 --blocking-threads 1 benchmarks.bare_route:app``, with
the socket of a Redis in BARE_REDIS that holds ``u:<number>``, 600 random bytes each.
"""

import os

import redis
from flask import Flask, Response

client = redis.Redis.from_url(os.environ.get("BARE_REDIS", "redis://127.0.0.1:6379"))
app = Flask(__name__)


@app.get("/users/<user>")
def user(user: str):
    value = client.get("u:" + user)
    return Response(value, mimetype="application/octet-stream") if value else ("", 404)
