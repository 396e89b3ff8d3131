"""What the conformance scripts share: an unmodified boto3 client of the Hearth that the environment names."""

import base64
import hashlib
import io
import json
import sys
import time
import traceback
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/conformance"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


def client(validate=True, **more):
    config = Config(retries={"max_attempts": 0}, parameter_validation=validate, read_timeout=60, **more)
    return boto3.client("lambda", config=config)


def package(**files):
    """A zip; names are given without their dots: app_py is app.py."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return data.getvalue()


ECHO = package(app_py="def handler(event, context):\n    return event\n")


def digest(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def create(aws, name, code=ECHO, **more):
    return aws.create_function(
        **{"FunctionName": name, "Role": ROLE, "Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": code}} | more)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}\n  got:  {got!r}\n  want: {want!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(call, code, message=None, status=None, **arguments):
    """The call fails with this code; `message` is its beginning. Returns the answer."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        answer = error.response
        told = answer["Error"]
        equal(told["Code"], code, f"{call.__name__} {str(arguments)[:200]}: {told.get('Message')}")
        if message is not None:
            holds((told["Message"] or "").startswith(message), f"{call.__name__}:\n  got:  {told['Message']}\n  want: {message}")
        if status is not None:
            equal(answer["ResponseMetadata"]["HTTPStatusCode"], status, call.__name__)
        holds(answer["ResponseMetadata"]["RequestId"], "an error has a request id")
        return answer
    raise AssertionError(f"{call.__name__} {str(arguments)[:200]} was not refused: {str(answer)[:300]}")


def eventually(what, question, seconds=60):
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        holds(time.monotonic() < end, f"waited {seconds} s for {what}")
        time.sleep(0.05)


def without_metadata(answer):
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def main(*checks):
    failed = []
    for check in checks:
        try:
            check()
        except Exception:
            failed.append(f"{check.__name__}: {traceback.format_exc()}")
    print(json.dumps({"checks": len(checks), "failed": failed}))
    sys.exit(1 if failed else 0)
