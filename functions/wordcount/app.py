"""Counts the words of a posted text, or of {"text": ...}: how many, how many different, and the ten most frequent."""

import base64
import json
import re
from collections import Counter

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def handler(event, context):
    words = [word.casefold() for word in WORD.findall(text_of(event))]
    counts = Counter(words)
    # Equally frequent words in alphabetical order: the same text always gives the same answer.
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    return {
        "words": len(words),
        "distinct": len(counts),
        "top": [{"word": word, "count": count} for word, count in top],
    }


def text_of(event):
    if "requestContext" not in event:
        return str(event.get("text", ""))
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8", "replace")
    if event["headers"].get("content-type", "").startswith("application/json"):
        given = json.loads(body)
        if isinstance(given, dict):
            return str(given.get("text", ""))
    return body
