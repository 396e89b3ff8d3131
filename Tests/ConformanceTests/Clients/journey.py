"""A function's way from its zip to its dead letter, by the clients of AWS as they are: boto3, and the `aws` command where people use it."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time

from common import *

aws = client()
s3 = boto3.client("s3")
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
WHO = """
import os
RELEASE = %d
def handler(event, context):
    return {'release': RELEASE, 'version': context.function_version, 'kind': os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], 'name': event.get('name')}
"""


def command(*arguments, parse=True):
    """`aws lambda …`; its JSON, or None if it prints nothing."""
    ran = subprocess.run([sys.executable, "-m", "awscli", "lambda", *arguments, "--output", "json"], capture_output=True, text=True, timeout=60)
    equal(ran.returncode, 0, f"aws lambda {' '.join(arguments)}: {ran.stderr}")
    return json.loads(ran.stdout) if ran.stdout else None


def a_zip_becomes_a_function_and_an_alias_shifts_its_traffic():
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/code.zip", "wb") as file:
            file.write(package(app_py=WHO % 1))
        made = command("create-function", "--function-name", "journey", "--runtime", PYTHON, "--handler", "app.handler", "--role", ROLE, "--timeout", "20",
                       "--zip-file", f"fileb://{work}/code.zip", "--publish")
        equal((made["Version"], made["CodeSize"]), ("1", os.path.getsize(f"{work}/code.zip")))
        command("wait", "function-active-v2", "--function-name", "journey")
        invoked = command("invoke", "--function-name", "journey", "--qualifier", "1", "--payload", '{"name": "Ada"}', f"{work}/answer.json")
        told = json.load(open(f"{work}/answer.json"))
        equal((invoked["ExecutedVersion"], told["release"], told["name"]), ("1", 1, "Ada"))
    aws.update_function_code(FunctionName="journey", ZipFile=package(app_py=WHO % 2))
    aws.get_waiter("function_updated_v2").wait(FunctionName="journey")
    equal(aws.publish_version(FunctionName="journey")["Version"], "2")
    canary = command("create-alias", "--function-name", "journey", "--name", "live", "--function-version", "1",
                     "--routing-config", 'AdditionalVersionWeights={2=0.1}')
    equal(canary["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.1}})

    # Of 200 draws at 0.1 fewer than 2 or more than 44 hit with a probability of 2·10⁻⁷.
    hits = 0
    for _ in range(200):
        answer = aws.invoke(FunctionName="journey", Qualifier="live")
        told = json.load(answer["Payload"])
        equal((told["version"], str(told["release"])), (answer["ExecutedVersion"], answer["ExecutedVersion"]))
        hits += told["version"] == "2"
    holds(2 <= hits <= 44, f"{hits} of 200 went to the version with a weight of 0.1")

    # The canary is well: all traffic is its own.
    aws.update_alias(FunctionName="journey", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    equal({aws.invoke(FunctionName="journey", Qualifier="live")["ExecutedVersion"] for _ in range(20)}, {"2"})


def provisioned_concurrency_becomes_ready_and_serves():
    put = command("put-provisioned-concurrency-config", "--function-name", "journey", "--qualifier", "live", "--provisioned-concurrent-executions", "2")
    equal((put["RequestedProvisionedConcurrentExecutions"], put["Status"]), (2, "IN_PROGRESS"))
    ready = eventually("READY", lambda: (now := aws.get_provisioned_concurrency_config(FunctionName="journey", Qualifier="live"))["Status"] == "READY" and now)
    equal((ready["AllocatedProvisionedConcurrentExecutions"], ready["AvailableProvisionedConcurrentExecutions"]), (2, 2))
    told = json.load(aws.invoke(FunctionName="journey", Qualifier="live")["Payload"])
    equal((told["kind"], told["version"]), ("provisioned-concurrency", "2"))
    equal(json.load(aws.invoke(FunctionName="journey", Qualifier="1")["Payload"])["kind"], "on-demand", "the other version's are its own")


STREAM = """
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
    stream.setContentType('text/plain')
    stream.write('begun ')
    await new Promise(resolve => setTimeout(resolve, 1000))
    for (let n = 0; n < event.pieces; n++) stream.write('.'.repeat(1000))
    stream.end()
})
"""


def a_streamed_answer_comes_as_it_is_made():
    create(aws, "stream", package(index_js=STREAM), Runtime="nodejs20.x", Handler="index.handler", Timeout=20)
    events = aws.invoke_with_response_stream(FunctionName="stream", Payload=b'{"pieces": 2000}', LogType="Tail")["EventStream"]
    pieces, first, complete = [], None, None
    for event in events:
        first = first or time.monotonic()
        if "PayloadChunk" in event:
            pieces.append(event["PayloadChunk"]["Payload"])
        else:
            complete = event["InvokeComplete"]
    # The handler waits for a second in between; the client may have slept for a part of it.
    holds(time.monotonic() - first > 0.2, "the first piece came with the last")
    equal(b"".join(pieces), b"begun " + b"." * 2_000_000)
    holds("ErrorCode" not in complete and "REPORT RequestId" in base64.b64decode(complete["LogResult"]).decode(), complete)


FAILS = """
def handler(event, context):
    raise RuntimeError('order %s cannot be filled' % event['order'])
"""
LETTERS = """
letters = []
def handler(event, context):
    if event.get('ask'): return letters
    letters.append(event)
"""


def an_event_that_fails_ends_as_a_dead_letter():
    s3.create_bucket(Bucket="outcomes")
    create(aws, "letters", package(app_py=LETTERS))
    aws.put_function_concurrency(FunctionName="letters", ReservedConcurrentExecutions=1)
    create(aws, "fails", package(app_py=FAILS), DeadLetterConfig={"TargetArn": ARN + "letters"})
    aws.put_function_event_invoke_config(FunctionName="fails", DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::outcomes"}})
    accepted = aws.invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"order": 7}')
    equal((accepted["StatusCode"], accepted["Payload"].read()), (202, b""))
    request = accepted["ResponseMetadata"]["RequestId"]

    def letters():
        try:
            return json.load(aws.invoke(FunctionName="letters", Payload=b'{"ask": true}')["Payload"])
        except aws.exceptions.TooManyRequestsException:
            # Its one worker takes the letter just now.
            return []

    equal(eventually("the dead letter", letters), [{"order": 7}], "a dead letter is the event")
    key = eventually("the record of the failure", lambda: s3.list_objects_v2(Bucket="outcomes").get("Contents"))[0]["Key"]
    record = json.load(s3.get_object(Bucket="outcomes", Key=key)["Body"])
    told = record["requestContext"]
    equal((told["requestId"], told["condition"], told["approximateInvokeCount"]), (request, "RetriesExhausted", 3))
    equal((record["requestPayload"], record["responseContext"]["functionError"]), ({"order": 7}, "Unhandled"))
    equal(record["responsePayload"]["errorMessage"], "order 7 cannot be filled")


main(a_zip_becomes_a_function_and_an_alias_shifts_its_traffic, provisioned_concurrency_becomes_ready_and_serves,
     a_streamed_answer_comes_as_it_is_made, an_event_that_fails_ends_as_a_dead_letter)
