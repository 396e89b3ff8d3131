"""redis-py as it is published, against the cache of the Hearth that HEARTH_CACHE_URL and the first argument (a unix socket) name."""

import json
import os
import socket
import sys
import time
import traceback
from urllib.parse import unquote, urlparse

import redis
from redis.cache import CacheConfig

URL = os.environ["HEARTH_CACHE_URL"]
SOCKET = sys.argv[1]
checks = 0
failed = []


def check(what, condition):
    global checks
    checks += 1
    if not condition:
        failed.append(what)


def raises(what, error, call, *arguments):
    try:
        call(*arguments)
        check(what, False)
    except error as raised:
        check(what, True)
        return str(raised)
    return ""


def raw():
    """A connection that has said who it is."""
    url = urlparse(URL)
    connection = socket.create_connection((url.hostname, url.port), timeout=20)
    secret = unquote(url.password).encode()
    connection.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret))
    assert connection.recv(100) == b"+OK\r\n"
    return connection


def read_all(connection):
    data = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except (ConnectionResetError, TimeoutError):
            return data
        if not piece:
            return data
        data += piece


def strings():
    for protocol in (2, 3):
        client = redis.Redis.from_url(URL, protocol=protocol)
        check("set", client.set("k", "v", ex=100) is True)
        check("get", client.get("k") == b"v")
        check("ttl", 99 <= client.ttl("k") <= 100)
        check("mget", client.mget("k", "none") == [b"v", None])
        big = os.urandom(3 << 20)
        check("a value of 3 MiB", client.set("big", big) and client.get("big") == big)
        check("incr", client.incrby("n", 5) == 5 and client.delete("n") == 1)
        raises("another type", redis.ResponseError, client.hset, "h", "f", "v")
        check("scan", b"k" in set(client.scan_iter(match="*")))
        check("info", client.info()["redis_version"].startswith("7.") and "db0" in client.info("keyspace"))
        check("config", client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru")
        check("flush", client.flushdb() and client.dbsize() == 0)
        raises("a view is read only", redis.ResponseError, redis.Redis.from_url(URL[:-1] + "1", protocol=protocol).set, "k", "v")


def doors():
    url = urlparse(URL)
    stranger = redis.Redis(host=url.hostname, port=url.port)
    raises("no password", redis.AuthenticationError, stranger.get, "k")
    raises("a wrong password", redis.AuthenticationError, redis.Redis(host=url.hostname, port=url.port, password="x").get, "k")
    named = redis.Redis(host=url.hostname, port=url.port, username=os.environ["AWS_ACCESS_KEY_ID"], password=os.environ["AWS_SECRET_ACCESS_KEY"])
    check("the access key id as user", named.ping())
    owner = redis.Redis(unix_socket_path=SOCKET)
    check("the unix socket needs no password", owner.set("k", "by socket") and named.get("k") == b"by socket")
    check("it is its owner's", os.stat(SOCKET).st_mode & 0o777 == 0o600)


def transactions_and_locks():
    client = redis.Redis.from_url(URL)
    other = redis.Redis.from_url(URL)
    with client.pipeline() as pipe:
        pipe.watch("w")
        pipe.multi()
        pipe.set("w", "mine")
        other.set("w", "theirs")
        raises("a watched key has changed", redis.WatchError, pipe.execute)
    check("pipeline", client.pipeline().set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"])
    lock = client.lock("lock", timeout=10)
    check("lock", lock.acquire(blocking=False) and not other.lock("lock", timeout=10).acquire(blocking=False))
    check("extend", lock.extend(10) and 10 < client.ttl("lock") <= 20 and lock.reacquire())
    lock.release()
    check("release", client.get("lock") is None)
    raises("released twice", redis.exceptions.LockError, lock.release)


def messages():
    client = redis.Redis.from_url(URL)
    client.config_set("notify-keyspace-events", "Ex")
    ear = client.pubsub(ignore_subscribe_messages=True)
    ear.psubscribe("__keyevent@0__:*", "news")
    ear.get_message(timeout=5)
    ear.get_message(timeout=5)
    began = time.monotonic()
    client.set("soon", "v", px=100)
    message = ear.get_message(timeout=10)
    check("an expired event without being asked for", message is not None and message["data"] == b"soon")
    check("not before its time", time.monotonic() - began >= 0.099)
    check("publish", client.publish("news", "hello") == 1 and ear.get_message(timeout=5)["data"] == b"hello")
    client.config_set("notify-keyspace-events", "")
    # client-side caching: RESP3, told of changes
    near = redis.Redis.from_url(URL, protocol=3, cache_config=CacheConfig())
    client.set("near", "1")
    check("read once", near.get("near") == b"1" and near.get_cache().size == 1)
    client.set("near", "2")
    deadline = time.monotonic() + 10
    while near.get("near") != b"2" and time.monotonic() < deadline:
        time.sleep(0.01)
    check("told of the change", near.get("near") == b"2")


def pauses():
    client = redis.Redis.from_url(URL, socket_timeout=10)
    for _ in range(20):
        # the loop's clock has milliseconds, too: each of these ends although its timer may ring early
        check("a pause ends", client.client_pause(1) and client.client_pause(1, all=False) and client.get("none") is None)
    check("a library's name", client.client_info()["lib-name"] == "redis-py")


def bad_input():
    for junk, error in [
        (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length"),
        (b"*9999999999\r\n", b"-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n*1\r\n*1\r\n", b"-ERR Protocol error: expected '$', got '*'"),
        (b"GET \"k\r\n", b"-ERR Protocol error: unbalanced quotes in request"),
        (b"x" * 70000, b"-ERR Protocol error: too big inline request"),
        (b"*1\r\n$536870912\r\n", b"-ERR Protocol error: invalid bulk length"),
    ]:
        connection = raw()
        connection.sendall(junk)
        check(f"{junk[:20]} is refused and cut", read_all(connection).startswith(error))
    connection = raw()
    count = 20000
    connection.sendall(b"PING\r\n" * count)
    data = b""
    while len(data) < 7 * count:
        data += connection.recv(1 << 16)
    check("a long pipeline is answered in full", data == b"+PONG\r\n" * count)
    # byte by byte
    for byte in b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n":
        connection.sendall(bytes([byte]))
    check("a request in pieces", connection.recv(100) == b"$2\r\nhi\r\n")
    # who has said all that it will say is answered
    connection.sendall(b"ECHO last\r\n")
    connection.shutdown(socket.SHUT_WR)
    check("an end behind a request", read_all(connection) == b"$4\r\nlast\r\n")
    # a subscriber that does not read is cut, and nobody else is
    deaf = raw()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(b"SUBSCRIBE loud\r\n")
    time.sleep(0.2)
    client = redis.Redis.from_url(URL)
    listeners = 1
    for _ in range(100):
        listeners = client.publish("loud", b"x" * (1 << 20))
        if listeners == 0:
            break
    check("a subscriber that does not read is cut", listeners == 0)
    check("the server answers", client.ping())


for theme in (strings, doors, transactions_and_locks, messages, pauses, bad_input):
    try:
        theme()
    except Exception:
        failed.append(traceback.format_exc())
print(json.dumps({"checks": checks, "failed": failed}))
sys.exit(1 if failed else 0)
