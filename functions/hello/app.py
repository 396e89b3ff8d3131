"""A greeting over HTTP: the name comes from the query, from a JSON body or from the path."""

import json


def handler(event, context):
    if "requestContext" not in event:
        # Called directly: a plain value in, a plain value out.
        return {"greeting": f"Hello, {event.get('name', 'world')}!"}
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/plain; charset=utf-8"},
        "body": f"Hello, {name_in(event)}!\n",
    }


def name_in(event):
    query = event.get("queryStringParameters") or {}
    if query.get("name"):
        return query["name"]
    body = event.get("body")
    if body and not event.get("isBase64Encoded"):
        try:
            given = json.loads(body)
            if isinstance(given, dict) and given.get("name"):
                return str(given["name"])
        except ValueError:
            pass
    return event["rawPath"].strip("/") or "world"
