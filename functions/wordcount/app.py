"""Counts the words of a posted text, or of {"text": ...}: how many, how many different, and the ten most frequent."""

import base64
import json
import re
from collections import Counter

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class BadInput(Exception):
    """Its text tells the caller what would be right."""


def handler(event, context):
    if not isinstance(event, dict) or "requestContext" not in event:
        return count(text_of(event))
    try:
        return count(posted(event))
    except BadInput as problem:
        return {"statusCode": 400, "headers": {"content-type": "application/json"}, "body": json.dumps({"message": str(problem)})}


def count(text):
    # One word at a time: a list of all would need many times the memory of the text.
    counts = Counter(match.group().casefold() for match in WORD.finditer(text))
    # Equally frequent words in alphabetical order: the same text always gives the same answer.
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    return {
        "words": sum(counts.values()),
        "distinct": len(counts),
        "top": [{"word": word, "count": number} for word, number in top],
    }


def posted(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8", "replace")
    if not event["headers"].get("content-type", "").startswith("application/json"):
        return body
    try:
        return text_of(json.loads(body))
    except ValueError as error:
        raise BadInput(f"the body is not JSON ({error}): post a text, or {{\"text\": \"...\"}}") from error


def text_of(value):
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise BadInput('there is no text: give {"text": "..."}')
    return text
