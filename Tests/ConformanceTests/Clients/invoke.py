"""Invoke: what goes in, what comes out, and what is refused."""

import base64
import json

from common import *

aws = client()
CODE = package(app_py="""
import json
def handler(event, context):
    kind = event.get('kind') if isinstance(event, dict) else None
    if kind == 'print': print('printed', json.dumps(event))
    if kind == 'raise': raise ValueError('told to')
    if kind == 'none': return None
    if kind == 'large': return 'x' * 6291600
    if kind == 'unserialisable': return {1, 2}
    if kind == 'context':
        client = context.client_context
        return {'arn': context.invoked_function_arn, 'version': context.function_version, 'name': context.function_name,
                'memory': context.memory_limit_in_mb, 'id': context.aws_request_id, 'group': context.log_group_name,
                'remaining': context.get_remaining_time_in_millis(), 'custom': client and client.custom}
    return event
""")


def payload(answer):
    return json.load(answer["Payload"])


def results_and_errors():
    create(aws, "invoked", CODE, Timeout=10)
    for event in ['{"a": [1, 2.5, null, true, "ä€"]}', '"text"', "3", "[]", "null", "false", '{"deep": ' + "[" * 100 + "]" * 100 + "}"]:
        answer = aws.invoke(FunctionName="invoked", Payload=event.encode())
        equal((answer["StatusCode"], answer["ExecutedVersion"], answer.get("FunctionError"), payload(answer)), (200, "$LATEST", None, json.loads(event)))
        equal(answer["ResponseMetadata"]["HTTPHeaders"]["content-type"], "application/json")
    equal(payload(aws.invoke(FunctionName="invoked")), {}, "without a payload the event is an empty object")
    equal(aws.invoke(FunctionName="invoked", Payload=b'{"kind": "none"}')["Payload"].read(), b"null")

    raised = aws.invoke(FunctionName="invoked", Payload=b'{"kind": "raise"}', LogType="Tail")
    equal((raised["StatusCode"], raised["FunctionError"], raised["ExecutedVersion"]), (200, "Unhandled", "$LATEST"))
    error = payload(raised)
    equal((error["errorMessage"], error["errorType"], error["requestId"]), ("told to", "ValueError", raised["ResponseMetadata"]["RequestId"]))
    holds(any("app.py" in line for line in error["stackTrace"]), error)
    holds("told to" in base64.b64decode(raised["LogResult"]).decode(), "the log tells it too")
    equal(aws.invoke(FunctionName="invoked", Payload=b'{"kind": "unserialisable"}')["FunctionError"], "Unhandled")
    large = aws.invoke(FunctionName="invoked", Payload=b'{"kind": "large"}')
    equal((large["StatusCode"], large["FunctionError"], payload(large)),
          (200, "Unhandled", {"errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).", "errorType": "Function.ResponseSizeTooLarge"}))

    tail = aws.invoke(FunctionName="invoked", Payload=b'{"kind": "print"}', LogType="Tail")
    request = tail["ResponseMetadata"]["RequestId"]
    lines = base64.b64decode(tail["LogResult"]).decode().splitlines()
    equal(lines[0], f"START RequestId: {request} Version: $LATEST")
    equal(lines[1:3], ['printed {"kind": "print"}', f"END RequestId: {request}"])
    holds(lines[3].startswith(f"REPORT RequestId: {request}\tDuration: ") and "\tMemory Size: 128 MB\tMax Memory Used: " in lines[3], lines[3])
    holds("LogResult" not in aws.invoke(FunctionName="invoked"), "no log unless asked for")
    dry = aws.invoke(FunctionName="invoked", InvocationType="DryRun", Payload=b'{"kind": "raise"}')
    equal((dry["StatusCode"], dry["Payload"].read(), dry.get("FunctionError")), (204, b"", None))


def qualifiers_and_context():
    aws.publish_version(FunctionName="invoked")
    aws.create_alias(FunctionName="invoked", Name="live", FunctionVersion="1")
    cases = [
        ({"FunctionName": "invoked"}, "", "$LATEST"), ({"FunctionName": "invoked", "Qualifier": "$LATEST"}, ":$LATEST", "$LATEST"),
        ({"FunctionName": "invoked", "Qualifier": "1"}, ":1", "1"), ({"FunctionName": "invoked", "Qualifier": "live"}, ":live", "1"),
        ({"FunctionName": "invoked:live"}, ":live", "1"), ({"FunctionName": ARN + "invoked:1"}, ":1", "1"), ({"FunctionName": ARN + "invoked"}, "", "$LATEST"),
        ({"FunctionName": "000000000000:function:invoked:1"}, ":1", "1"), ({"FunctionName": "invoked:1", "Qualifier": "1"}, ":1", "1"),
    ]
    for arguments, suffix, version in cases:
        answer = aws.invoke(Payload=b'{"kind": "context"}', **arguments)
        context = payload(answer)
        equal((context["arn"], context["version"], answer["ExecutedVersion"]), (ARN + "invoked" + suffix, version, version), arguments)
        equal((context["name"], str(context["memory"]), context["group"]), ("invoked", "128", "/aws/lambda/invoked"))
        equal(context["id"], answer["ResponseMetadata"]["RequestId"], "one id for all")
        holds(8000 < context["remaining"] <= 10000, context)
    custom = base64.b64encode(json.dumps({"custom": {"key": "value"}}).encode()).decode()
    equal(payload(aws.invoke(FunctionName="invoked", ClientContext=custom, Payload=b'{"kind": "context"}'))["custom"], {"key": "value"})
    for name, qualifier, shown in [("no", None, "no:$LATEST"), ("invoked", "7", "invoked:7"), ("invoked", "other", "invoked:other"), ("no", "live", "no:live")]:
        more = {"Qualifier": qualifier} if qualifier else {}
        refused(aws.invoke, "ResourceNotFoundException", f"Function not found: {ARN}{shown}", 404, FunctionName=name, **more)


def refusals_before_a_worker_is_touched():
    # An event that is no JSON never reaches a worker: this function has none and cannot have one.
    create(aws, "broken", package(app_py="import nothing_of_this_name\n"))
    for event in [b"{", b"{'a': 1}", b"{\"a\": 1,}", b"nul", b"\xff", b'"\xc3"', b"1 2", b"01", b'"\t"', b"[" * 5000]:
        refused(aws.invoke, "InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json: ", 400,
                FunctionName="broken", Payload=event)
    refused(aws.invoke, "InvalidRequestContentException", None, 400, FunctionName="broken", ClientContext="!!")
    refused(aws.invoke, "RequestTooLargeException", "Request must be smaller than ", 413, FunctionName="broken", Payload=b'"' + b"x" * 6291556 + b'"')
    broken = aws.invoke(FunctionName="broken")
    equal((broken["StatusCode"], broken["FunctionError"]), (200, "Unhandled"))
    error = payload(broken)
    holds(error["errorType"] == "Runtime.ImportModuleError" and "nothing_of_this_name" in error["errorMessage"], error)
    loose = client(validate=False)
    refused(loose.invoke, "ValidationException", "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: ",
            400, FunctionName="broken", InvocationType="Later")


STREAMS = package(app_py="""
def handler(event, context):
    return globals()[event["kind"]]()

def pieces():
    print("a line")
    yield "one "
    yield b"two"

def breaks():
    yield "begun"
    raise ValueError("in the midst")

def whole():
    return {"a": 1}

def fails():
    raise ValueError("at once")
""")


def streams():
    create(aws, "streams", STREAMS, Publish=True)

    def stream(kind, **more):
        answer = aws.invoke_with_response_stream(FunctionName="streams", Payload=json.dumps({"kind": kind}).encode(), **more)
        equal((answer["StatusCode"], answer["ResponseStreamContentType"]), (200, "application/vnd.amazon.eventstream"))
        events = list(answer["EventStream"])
        return answer, b"".join(e["PayloadChunk"]["Payload"] for e in events[:-1]), events[-1]["InvokeComplete"]

    answer, body, end = stream("pieces", LogType="Tail", Qualifier="1")
    equal((body, answer["ExecutedVersion"]), (b"one two", "1"))
    holds("a line" in base64.b64decode(end["LogResult"]).decode() and "ErrorCode" not in end, end)
    equal(stream("whole")[1:], (b'{"a":1}', {}))
    for kind, begun, message in [("breaks", b"begun", "in the midst"), ("fails", b"", "at once")]:
        _, body, end = stream(kind)
        equal((body, end["ErrorCode"], json.loads(end["ErrorDetails"])["errorMessage"]), (begun, "Unhandled", message))
    equal(aws.invoke(FunctionName="streams", Payload=b'{"kind": "pieces"}')["Payload"].read(), b"one two")
    equal(aws.invoke_with_response_stream(FunctionName="streams", InvocationType="DryRun")["StatusCode"], 204)
    refused(aws.invoke_with_response_stream, "ResourceNotFoundException", f"Function not found: {ARN}no:$LATEST", 404, FunctionName="no")
    refused(aws.invoke_with_response_stream, "InvalidRequestContentException", None, 400, FunctionName="streams", Payload=b"{")
    refused(client(validate=False).invoke_with_response_stream, "ValidationException", None, 400, FunctionName="streams", InvocationType="Event")


main(results_and_errors, qualifiers_and_context, refusals_before_a_worker_is_touched, streams)
