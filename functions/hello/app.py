"""A greeting over HTTP: the name comes from the query, from a JSON body or from the path."""

import json
from urllib.parse import unquote


def handler(event, context):
    if not isinstance(event, dict) or "requestContext" not in event:
        # Called directly: a plain value in, a plain value out.
        return {"greeting": f"Hello, {name_of(event) or 'world'}!"}
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/plain; charset=utf-8"},
        "body": f"Hello, {name_in(event)}!\n",
    }


def name_of(value):
    """The name that a value gives, if it does: {"name": "Ada"} or "Ada"."""
    name = value.get("name") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def name_in(event):
    query = event.get("queryStringParameters") or {}
    return query.get("name") or name_in_body(event) or unquote(event["rawPath"]).strip("/") or "world"


def name_in_body(event):
    if not event.get("body") or event.get("isBase64Encoded"):
        return None
    try:
        return name_of(json.loads(event["body"]))
    except ValueError:
        return None
