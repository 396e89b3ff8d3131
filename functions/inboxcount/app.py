"""Counts the words of each text that is put into the bucket `inbox`, and writes the counts to `inbox-counts`: KEY.json for KEY."""

import codecs
import json
import re
import sys
from collections import Counter
from urllib.parse import unquote_plus

sys.path.append("vendor")  # what build.sh may have packed
try:
    import boto3

    # Address, key and region stand in the environment. Made here, once, it is there when a worker is forked.
    s3 = boto3.client("s3")
except ImportError:
    s3 = None

TARGET = "inbox-counts"
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
CHUNK = 1 << 20


def handler(event, context):
    if s3 is None:
        raise RuntimeError("boto3 is not installed here: python3 -m pip install boto3, then hearth deploy functions/inboxcount")
    written = []
    for record in event["Records"]:
        # In events keys are coded as in forms.
        bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        counts = count(s3.get_object(Bucket=bucket, Key=key)["Body"])
        # The same text gives the same object: an event that comes twice changes nothing.
        told = {
            "source": f"s3://{bucket}/{key}",
            "words": sum(counts.values()),
            "distinct": len(counts),
            "top": [{"word": word, "count": number} for word, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]],
        }
        s3.put_object(Bucket=TARGET, Key=f"{key}.json", Body=json.dumps(told, indent=2).encode(), ContentType="application/json")
        written.append(f"s3://{TARGET}/{key}.json")
    return {"written": written}


def count(body):
    """Reads the text as it comes: it may be larger than the function's memory. A word may lie in two pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    counts, rest = Counter(), ""
    while piece := body.read(CHUNK):
        text = rest + decoder.decode(piece)
        end = max(text.rfind(" "), text.rfind("\n")) + 1
        counts.update(match.group().casefold() for match in WORD.finditer(text, 0, end))
        rest = text[end:]
    counts.update(match.group().casefold() for match in WORD.finditer(rest + decoder.decode(b"", True)))
    return counts
