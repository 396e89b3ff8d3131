"""A catalogue in an SQLite file. What is like a product is dear to find, so it is kept in the node's cache.

Lazy loading: look in the cache; on a miss look in the file, and store what was found for five minutes.
Write-through: a new price goes into the file, then what the cache holds is replaced, before the caller is answered.
Without HEARTH_CACHE_URL, or while the cache is away, every lookup goes to the file.
"""

import base64
import json
import os
import sqlite3

from cache import Cache

FILE = os.environ.get("CATALOGUE_FILE", "/tmp/catalogue.sqlite")
PRODUCTS = 20_000
SECONDS = 300


class BadInput(Exception):
    """Its text tells the caller what would be right."""


def open_catalogue():
    file = sqlite3.connect(FILE, isolation_level=None)
    file.execute("CREATE TABLE IF NOT EXISTS products (sku INTEGER PRIMARY KEY, name TEXT, price REAL, a REAL, b REAL, c REAL)")
    if file.execute("SELECT count(*) FROM products").fetchone()[0] == 0:
        # Made up, but the same on every machine.
        rows = ((sku, f"product {sku}", sku * 7 % 100 + 0.99, sku * 37 % 101, sku * 53 % 103, sku * 71 % 107) for sku in range(PRODUCTS))
        file.execute("BEGIN")
        file.executemany("INSERT INTO products VALUES (?, ?, ?, ?, ?, ?)", rows)
        file.execute("COMMIT")
    return file


catalogue = None
cache = Cache()


def handler(event, context):
    global catalogue
    # At the first call, not at the import: a forked worker must not share the connection of the process that it came from.
    catalogue = catalogue or open_catalogue()
    if not isinstance(event, dict) or "requestContext" not in event:
        return answer(event)
    try:
        return answer(asked(event))
    except BadInput as problem:
        return {"statusCode": 400, "headers": {"content-type": "application/json"}, "body": json.dumps({"message": str(problem)})}


def asked(event):
    if event["requestContext"]["http"]["method"] != "POST":
        return event.get("queryStringParameters") or {}
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8", "replace")
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadInput(f'the body is not JSON ({error}): post {{"sku": 17, "price": 9.5}}') from error


def answer(question):
    try:
        sku = int(question["sku"])
        price = question.get("price")
        price = None if price is None else float(price)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"say which product: sku from 0 to {PRODUCTS - 1}, and a price to change it") from error
    if price is not None:
        return change(sku, price)
    return find(sku)


def find(sku):
    """Lazy loading."""
    stored = cache.get(key(sku))
    if stored is not None:
        return {**json.loads(stored), "from": "cache"}
    product = look_up(sku)
    cache.set(key(sku), json.dumps(product).encode(), SECONDS)
    return {**product, "from": "catalogue"}


def change(sku, price):
    """Write-through."""
    if catalogue.execute("UPDATE products SET price = ? WHERE sku = ?", (price, sku)).rowcount == 0:
        raise BadInput(f"there is no product {sku}: sku is from 0 to {PRODUCTS - 1}")
    product = look_up(sku)
    cache.set(key(sku), json.dumps(product).encode(), SECONDS)
    return {**product, "from": "catalogue"}


def key(sku):
    return f"catalogue:{sku}"


def look_up(sku):
    row = catalogue.execute("SELECT name, price FROM products WHERE sku = ?", (sku,)).fetchone()
    if row is None:
        raise BadInput(f"there is no product {sku}: sku is from 0 to {PRODUCTS - 1}")
    # Every product is compared with this one: there is no index for that.
    similar = catalogue.execute(
        """
        SELECT other.sku FROM products this, products other WHERE this.sku = ? AND other.sku != this.sku
        ORDER BY (other.a - this.a) * (other.a - this.a) + (other.b - this.b) * (other.b - this.b)
            + (other.c - this.c) * (other.c - this.c), other.sku LIMIT 5
        """,
        (sku,),
    )
    return {"sku": sku, "name": row[0], "price": row[1], "similar": [found for (found,) in similar]}
