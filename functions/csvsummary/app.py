"""Reads a CSV object and writes a summary of its columns: {"bucket": ..., "key": ...} in, KEY.json in the bucket `summaries` out.

The object is read as it comes, so it may be larger than the function's memory. An event of S3's notifications is understood too.
"""

import base64
import csv
import io
import json
import math
import sys
from urllib.parse import unquote_plus

sys.path.append("vendor")  # what build.sh may have packed
try:
    import boto3
    from botocore.exceptions import ClientError

    # Address, key and region stand in the environment. Made here, once, it is there when a worker is forked.
    s3 = boto3.client("s3")
except ImportError:
    s3 = None

TARGET = "summaries"
DISTINCT_MAX = 1000
csv.field_size_limit(1 << 20)


class BadInput(Exception):
    """Its text tells the caller what would be right."""


class Column:
    """What is known of a column: a few numbers, however many rows there are."""

    def __init__(self):
        self.empty = self.numbers = self.texts = 0
        self.total = 0.0
        self.least, self.most = math.inf, -math.inf
        self.distinct = set()

    def add(self, cell):
        cell = (cell or "").strip()
        if not cell:
            self.empty += 1
            return
        if len(self.distinct) <= DISTINCT_MAX:
            self.distinct.add(cell)
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.texts += 1
            return
        self.numbers += 1
        self.total += number
        self.least, self.most = min(self.least, number), max(self.most, number)

    def summary(self):
        told = {"empty": self.empty, "numbers": self.numbers, "texts": self.texts}
        told["distinct"] = len(self.distinct) if len(self.distinct) <= DISTINCT_MAX else f"more than {DISTINCT_MAX}"
        if self.numbers:
            told |= {"min": self.least, "max": self.most, "sum": self.total, "mean": self.total / self.numbers}
        return told


def handler(event, context):
    posted = isinstance(event, dict) and "requestContext" in event
    try:
        places = list(places_of(body_of(event) if posted else event))
        results = [summarise(bucket, key) for bucket, key in places]
    except BadInput as problem:
        if not posted:
            raise
        return {"statusCode": 400, "headers": {"content-type": "application/json"}, "body": json.dumps({"message": str(problem)})}
    return results[0] if len(results) == 1 else results


def body_of(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8", "replace")
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadInput(f'the body is not JSON ({error}): post {{"bucket": "inbox", "key": "sales.csv"}}') from error


def places_of(event):
    """The objects that an event names."""
    if isinstance(event, dict) and event.get("Records"):
        for record in event["Records"]:
            yield record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
        return
    bucket, key = (event.get("bucket"), event.get("key")) if isinstance(event, dict) else (None, None)
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
        raise BadInput('the event names no object: give {"bucket": "inbox", "key": "sales.csv"}')
    yield bucket, key


def summarise(bucket, key):
    if s3 is None:
        raise BadInput("boto3 is not installed here: python3 -m pip install boto3, then hearth deploy functions/csvsummary")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        raise BadInput(f"s3://{bucket}/{key} cannot be read: {error}") from error
    try:
        rows, columns = read(io.TextIOWrapper(body, encoding="utf-8-sig", newline=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"s3://{bucket}/{key} is no CSV in UTF-8: {error}") from error
    told = {"source": f"s3://{bucket}/{key}", "rows": rows, "columns": {name: column.summary() for name, column in columns.items()}}
    target = f"{key}.json"
    try:
        s3.put_object(Bucket=TARGET, Key=target, Body=json.dumps(told, indent=2).encode(), ContentType="application/json")
    except ClientError as error:
        raise BadInput(f"s3://{TARGET}/{target} cannot be written: {error}") from error
    return told | {"summary": f"s3://{TARGET}/{target}"}


def read(lines):
    """The number of rows and what is in their columns; the first row has their names."""
    table = csv.reader(lines)
    names = next(table, [])
    columns = {name or f"column {index + 1}": Column() for index, name in enumerate(names)}
    rows = 0
    for row in table:
        if not row:
            continue
        rows += 1
        for column, cell in zip(columns.values(), row + [""] * (len(columns) - len(row))):
            column.add(cell)
    return rows, columns
