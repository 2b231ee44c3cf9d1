"""What `helm test` asks: does the operator serve, does one of them lead, and can the broker be logged in to?"""

import os
import sys
import time
import urllib.error
import urllib.request

import redis

DEADLINE = time.monotonic() + float(os.environ.get("WITHIN_SECONDS", "60"))


def read(path):
    """A page of the operator, by its Service."""
    with urllib.request.urlopen(os.environ["OPERATOR_URL"] + path, timeout=5) as answer:
        return answer.read().decode()


def ready():
    said = read("/readyz").strip()
    assert said in {"leader", "standby"}, f"it says {said!r}"
    return said


def leads():
    """The Service answers with either operator, so it is asked until the leader answered."""
    lines = read("/metrics").splitlines()
    figures = [line for line in lines if line.startswith("workerpool_leader")]
    assert figures, "workerpool_leader is not among the metrics"
    assert float(figures[0].rpartition(" ")[2]) == 1, "the operator that answered does not lead"
    return f"{len(lines)} lines of metrics"


def ping():
    url = os.environ.get("BROKER_URL")
    assert url, f"the Secret {os.environ.get('BROKER_SECRET')} or its key is missing"
    try:
        client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
    except ValueError:
        raise AssertionError("its address is no Redis URL") from None  # the reason might show the password
    with client:
        assert client.ping()
    return "it answers PING"


def attempt(name, check):
    """Until it holds or the time is over: what was installed a second ago may still be on its way."""
    while True:
        try:
            print(f"ok      {name}: {check()}", flush=True)
        except (AssertionError, OSError, redis.RedisError) as error:
            if time.monotonic() > DEADLINE:
                print(f"FAILED  {name}: {error}", flush=True)
                return False
            time.sleep(0.5)
        else:
            return True


checks = []
if "OPERATOR_URL" in os.environ:
    checks += [("operator", ready), ("leader", leads)]
if "BROKER_SECRET" in os.environ:
    checks += [("broker", ping)]
# A list, so that every one is asked, also after a failure.
sys.exit(0 if all([attempt(name, check) for name, check in checks]) else 1)
