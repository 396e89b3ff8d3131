"""The node's cache, by the Redis protocol (RESP2) over HEARTH_CACHE_URL. Whatever goes wrong with it is a miss."""

import os
import socket
from urllib.parse import unquote, urlsplit


class Cache:
    def __init__(self, url=os.environ.get("HEARTH_CACHE_URL", "")):
        self.url = urlsplit(url)
        self.stream = None

    def get(self, key):
        return self.ask(b"GET", key.encode())

    def set(self, key, value, seconds):
        self.ask(b"SET", key.encode(), value, b"EX", str(seconds).encode())

    def ask(self, *words):
        if not self.url.scheme:
            return None
        # Once again on a new connection: the old one may have been closed while nobody used it.
        for _ in range(2):
            try:
                self.stream = self.stream or self.connect()
                return self.call(*words)
            except OSError:
                self.stream = None
        return None

    def connect(self):
        if self.url.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(1)
            connection.connect(unquote(self.url.path))
        else:
            connection = socket.create_connection((self.url.hostname, self.url.port), 1)
        self.stream = connection.makefile("rwb")
        if self.url.password:
            self.call(b"AUTH", unquote(self.url.username or "default").encode(), unquote(self.url.password).encode())
        return self.stream

    def call(self, *words):
        self.stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        self.stream.flush()
        line = self.stream.readline()
        if line[:1] == b"$" and line != b"$-1\r\n":
            return self.stream.read(int(line[1:]) + 2)[:-2]
        if line[:1] not in (b"+", b"$", b":"):
            raise ConnectionError(line.decode(errors="replace").strip() or "the cache has closed the connection")
        return None
