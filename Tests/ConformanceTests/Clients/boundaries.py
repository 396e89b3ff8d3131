"""Every operation with each of its fields missing, of another type and out of range, as the service model inside the installed botocore
describes them: refused in AWS's words, never with a 500, never without an answer, and what is refused changes nothing."""

import http.client
import os
import random
import re
import urllib.parse

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from common import *

SEED = int(os.environ.get("HEARTH_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
session = botocore.session.get_session()
model = session.get_service_model("lambda")
endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
signer = SigV4Auth(session.get_credentials(), "lambda", "us-east-1")
aws = client()
NAME = "bounds"
ZIP = base64.b64encode(ECHO).decode()
URL = {"AuthType": "NONE", "Cors": {"AllowCredentials": True, "AllowHeaders": ["a"], "AllowMethods": ["GET"], "AllowOrigins": ["https://a"], "ExposeHeaders": ["b"], "MaxAge": 1}, "InvokeMode": "BUFFERED"}
SETTINGS = {
    "Description": "d", "Timeout": 3, "MemorySize": 128, "Handler": "app.handler", "Runtime": "python3.11", "Environment": {"Variables": {"A": "b"}}, "Role": ROLE,
    "EphemeralStorage": {"Size": 512}, "SnapStart": {"ApplyOn": "None"}, "TracingConfig": {"Mode": "PassThrough"}, "Layers": [], "KMSKeyArn": "",
    "DeadLetterConfig": {"TargetArn": ""}, "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", "LogGroup": "/g"}, "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
LAYER = {"LayerName": "bounds", "VersionNumber": 1}

# A request of each operation that this node takes; fields that are not there are judged all the same.
GOOD = {
    "CreateFunction": SETTINGS | {"FunctionName": "made", "Code": {"ZipFile": ZIP}, "Publish": False, "PackageType": "Zip", "Tags": {"a": "b"}, "Architectures": ["x86_64"]},
    "GetFunction": {"FunctionName": NAME}, "GetFunctionConfiguration": {"FunctionName": NAME},
    "UpdateFunctionCode": {"FunctionName": NAME, "ZipFile": ZIP, "Publish": False, "DryRun": True, "Architectures": ["x86_64"]},
    "UpdateFunctionConfiguration": SETTINGS | {"FunctionName": NAME}, "DeleteFunction": {"FunctionName": "made"},
    "ListFunctions": {"FunctionVersion": "ALL", "MaxItems": 5}, "PublishVersion": {"FunctionName": NAME, "Description": "d"},
    "ListVersionsByFunction": {"FunctionName": NAME, "MaxItems": 5},
    "CreateAlias": {"FunctionName": NAME, "Name": "new", "FunctionVersion": "1", "Description": "d", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}},
    "GetAlias": {"FunctionName": NAME, "Name": "live"}, "UpdateAlias": {"FunctionName": NAME, "Name": "live", "FunctionVersion": "1", "Description": "d", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}},
    "DeleteAlias": {"FunctionName": NAME, "Name": "new"}, "ListAliases": {"FunctionName": NAME, "FunctionVersion": "1", "MaxItems": 5},
    "PutFunctionConcurrency": {"FunctionName": NAME, "ReservedConcurrentExecutions": 5}, "GetFunctionConcurrency": {"FunctionName": NAME}, "DeleteFunctionConcurrency": {"FunctionName": NAME},
    "PutProvisionedConcurrencyConfig": {"FunctionName": NAME, "Qualifier": "2", "ProvisionedConcurrentExecutions": 1},
    "GetProvisionedConcurrencyConfig": {"FunctionName": NAME, "Qualifier": "2"}, "DeleteProvisionedConcurrencyConfig": {"FunctionName": NAME, "Qualifier": "2"},
    "ListProvisionedConcurrencyConfigs": {"FunctionName": NAME, "MaxItems": 5},
    "CreateFunctionUrlConfig": {"FunctionName": NAME, "Qualifier": "live"} | URL, "GetFunctionUrlConfig": {"FunctionName": NAME}, "UpdateFunctionUrlConfig": {"FunctionName": NAME} | URL,
    "DeleteFunctionUrlConfig": {"FunctionName": NAME, "Qualifier": "live"}, "ListFunctionUrlConfigs": {"FunctionName": NAME, "MaxItems": 5},
    "AddPermission": {"FunctionName": NAME, "StatementId": "new", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "000000000000"},
    "GetPolicy": {"FunctionName": NAME}, "RemovePermission": {"FunctionName": NAME, "StatementId": "new"},
    "TagResource": {"Resource": ARN + NAME, "Tags": {"a": "b"}}, "UntagResource": {"Resource": ARN + NAME, "TagKeys": ["z"]}, "ListTags": {"Resource": ARN + NAME},
    "GetAccountSettings": {}, "Invoke": {"FunctionName": NAME, "InvocationType": "DryRun", "LogType": "None"},
    "PutFunctionEventInvokeConfig": {"FunctionName": NAME, "MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60, "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}},
    "GetFunctionEventInvokeConfig": {"FunctionName": NAME}, "ListFunctionEventInvokeConfigs": {"FunctionName": NAME, "MaxItems": 5},
    "PublishLayerVersion": {"LayerName": "new", "Content": {"ZipFile": ZIP}, "CompatibleRuntimes": ["python3.11"], "CompatibleArchitectures": ["arm64"], "Description": "d", "LicenseInfo": "MIT"},
    "GetLayerVersion": LAYER, "GetLayerVersionByArn": {"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:bounds:1"}, "ListLayers": {"CompatibleRuntime": "python3.11", "CompatibleArchitecture": "arm64", "MaxItems": 5},
    "ListLayerVersions": {"LayerName": "bounds", "MaxItems": 5}, "GetLayerVersionPolicy": LAYER, "DeleteLayerVersion": {"LayerName": "new", "VersionNumber": 9},
    "AddLayerVersionPermission": LAYER | {"StatementId": "new", "Action": "lambda:GetLayerVersion", "Principal": "*"}, "RemoveLayerVersionPermission": LAYER | {"StatementId": "new"},
}

# Not judged by Hearth: it ignores them (or refuses them whatever they are), or looks at them when it is asked for what they need.
LENIENT = re.compile(r"MasterRegion|DurableExecutionName|TenantId|CapacityProviderConfig|DurableConfig|TenancyConfig|CodeSigningConfigArn|SourceKMSKeyArn|KMSKeyArn|Marker|RevisionId|CodeSha256")


class Missing:
    def __repr__(self):
        return "(missing)"


MISSING = Missing()
WRONG = {
    "string": [7, True, [], {"a": 1}], "blob": [7, [], {"a": 1}], "integer": ["x", 1.5, True, [], {"a": 1}, 10 ** 30], "long": ["x", [], {"a": 1}],
    "double": ["x", [], True], "boolean": ["yes", 7, []], "list": ["x", {"a": 1}, 7], "map": ["x", [], 7], "structure": ["x", [], 7], "float": ["x"], "timestamp": [],
}


def beyond(shape):
    """Values of the right type that the model does not allow."""
    about = shape.metadata
    least, most = about.get("min"), about.get("max")
    if shape.type_name in ("integer", "long", "double", "float"):
        return ([least - 1] if least is not None else []) + ([most + 1] if most is not None else [])
    if shape.type_name in ("string", "blob"):
        values = []
        if shape.enum if shape.type_name == "string" else []:
            values += ["nothing-of-the-kind", ""]
        if most is not None:
            values.append("a" * (most + 1))
        if least:
            values.append("a" * (least - 1))
        pattern = about.get("pattern")
        if pattern:
            values += [value for value in ["  ", "ä\n", "!*", "a" * 3000, "arn:aws:none"] if not re.fullmatch(pattern, value)]
        return values
    if shape.type_name == "list" and most is not None and shape.member.type_name == "string" and most < 200:
        return [["aa"] * (most + 1)]
    return []


def variants(shape, value, path=()):
    """(path, kind, other value, how) of each field below a structure, the given value's fields first of all."""
    for name, member in shape.members.items():
        here = path + (name,)
        if name in shape.required_members:
            yield here, member, MISSING, "missing"
        for other in WRONG[member.type_name]:
            yield here, member, other, "type"
        for other in beyond(member):
            yield here, member, other, "range"
        if member.type_name == "structure" and len(here) < 4:
            yield from variants(member, {}, here)
        if member.type_name == "list":
            for other in WRONG[member.member.type_name]:
                yield here, member, [other], "type"
            for other in beyond(member.member):
                yield here, member, [other], "range"
        if member.type_name == "map":
            for other in WRONG[member.value.type_name]:
                yield here, member, {"2": other}, "type"
            for other in beyond(member.value):
                yield here, member, {"2": other}, "range"


def changed(request, path, value):
    request = dict(request)
    if len(path) == 1:
        if value is MISSING:
            request.pop(path[0], None)
        else:
            request[path[0]] = value
    else:
        inner = request.get(path[0])
        request[path[0]] = changed(inner if isinstance(inner, dict) else {}, path[1:], value)
    return request


connection = None


def send(operation, request):
    """The request on the wire, put together by hand: botocore would not send most of them. Status, error type, body."""
    global connection
    uri, query, headers, body, payload = operation.http["requestUri"], [], {}, {}, None
    parts = urllib.parse.urlsplit(uri)
    query += urllib.parse.parse_qsl(parts.query)
    uri = parts.path
    for name, value in request.items():
        member = operation.input_shape.members[name]
        where, wire = member.serialization.get("location"), member.serialization.get("name", name)
        text = value if isinstance(value, str) else json.dumps(value)
        if where == "uri":
            uri = uri.replace("{" + wire + "}", urllib.parse.quote(text, safe=""))
        elif where == "querystring":
            query += [(wire, one if isinstance(one, str) else json.dumps(one)) for one in (value if isinstance(value, list) else [value])]
        elif where == "header":
            headers[wire] = text
        elif operation.input_shape.serialization.get("payload") == name:
            payload = text
        else:
            body[wire] = value
    uri = re.sub(r"\{\w+\}", "", uri)
    data = payload if payload is not None else json.dumps(body) if operation.http["method"] in ("POST", "PUT") else ""
    url = f"{endpoint.scheme}://{endpoint.netloc}{uri}" + ("?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote) if query else "")
    headers = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
    signed = AWSRequest(method=operation.http["method"], url=url, data=data.encode(), headers=headers)
    signer.add_auth(signed)
    for attempt in range(2):
        try:
            if connection is None:
                connection = http.client.HTTPConnection(endpoint.netloc, timeout=20)
            connection.request(operation.http["method"], url[len(f"{endpoint.scheme}://{endpoint.netloc}"):], data.encode(), dict(signed.headers))
            answer = connection.getresponse()
            return answer.status, answer.headers.get("x-amzn-ErrorType"), answer.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            connection = None
            holds(attempt == 0, f"{operation.name} {str(request)[:300]}: no answer")


def op(name):
    return model.operation_model(name)


STATE = [
    ("ListFunctions", {"FunctionVersion": "ALL"}), ("GetFunction", {"FunctionName": NAME}), ("ListAliases", {"FunctionName": NAME}), ("GetPolicy", {"FunctionName": NAME}),
    ("ListFunctionUrlConfigs", {"FunctionName": NAME}), ("ListProvisionedConcurrencyConfigs", {"FunctionName": NAME}), ("ListTags", {"Resource": ARN + NAME}),
    ("ListFunctionEventInvokeConfigs", {"FunctionName": NAME}), ("ListLayerVersions", {"LayerName": "bounds"}), ("GetLayerVersionPolicy", LAYER), ("ListLayers", {}),
]


def state():
    """All that there is, but for what moves by itself (how many workers are ready)."""
    told = b"".join(send(op(name), request)[2] for name, request in STATE)
    return re.sub(rb'"(Available|Allocated)\w+":\d+|"Status(Reason)?":"[^"]*"', b"", told)


def restore():
    for name, request in [
        ("CreateFunction", GOOD["CreateFunction"] | {"FunctionName": NAME, "Publish": True, "VpcConfig": {}, "LoggingConfig": {"LogFormat": "Text"}}),
        ("UpdateFunctionConfiguration", {"FunctionName": NAME, "Description": "two"}), ("PublishVersion", {"FunctionName": NAME}),
        ("CreateAlias", {"FunctionName": NAME, "Name": "live", "FunctionVersion": "1"}), ("CreateFunctionUrlConfig", {"FunctionName": NAME, "AuthType": "NONE"}),
        ("PutFunctionEventInvokeConfig", {"FunctionName": NAME, "MaximumRetryAttempts": 0}),
        ("AddPermission", {"FunctionName": NAME, "StatementId": "old", "Action": "lambda:*", "Principal": "*"}),
    ]:
        send(op(name), request)
    if send(op("GetLayerVersion"), LAYER)[0] == 404:
        send(op("PublishLayerVersion"), {"LayerName": "bounds", "Content": {"ZipFile": ZIP}})
    send(op("DeleteFunction"), {"FunctionName": "made"})
    send(op("DeleteAlias"), {"FunctionName": NAME, "Name": "new"})


def every_field_of_every_operation():
    print(f"HEARTH_TEST_SEED={SEED}", file=sys.stderr)
    restore()
    problems, count = [], 0
    order = sorted(GOOD)
    random.Random(SEED).shuffle(order)
    for name in order:
        operation = op(name)
        good = GOOD[name]
        allowed = {shape.name for shape in operation.error_shapes}
        allowed |= {"ValidationException", "SerializationException", "AccessDeniedException", "UnknownOperationException", "InvalidParameterValueException", "ResourceNotFoundException", "InvalidRequestContentException"}
        before = state()
        for path, member, value, how in variants(operation.input_shape, good) if operation.input_shape else []:
            count += 1
            status, error, body = send(operation, changed(good, path, value))
            what = f"{name} {'.'.join(path)} = {str(value)[:60]!r} ({how})"
            in_body = operation.input_shape.members[path[0]].serialization.get("location") is None and path[0] != "Payload"
            strict = in_body and not LENIENT.search(".".join(path)) and operation.http["method"] in ("POST", "PUT")
            if status >= 500:
                problems.append(f"{what}: {status} {body[:200]}")
            elif status >= 400:
                if error not in allowed:
                    problems.append(f"{what}: {status} {error} is none of the operation's errors: {body[:200]}")
                if strict and how == "type" and error not in ("SerializationException", "ValidationException"):
                    problems.append(f"{what}: {status} {error}, not SerializationException: {body[:200]}")
                if strict and how == "missing" and error != "ValidationException":
                    problems.append(f"{what}: {status} {error}, not ValidationException: {body[:200]}")
                try:
                    told = json.loads(body)
                    holds("message" in told or "Message" in told, "no message")
                except ValueError:
                    problems.append(f"{what}: the error is no JSON: {body[:200]}")
                after = state() if operation.http["method"] != "GET" and count % 7 == 0 else before
                if after != before:
                    problems.append(f"{what}: refused, but something changed")
                    before = after
            else:
                if strict:
                    problems.append(f"{what}: taken ({status})")
                if operation.http["method"] != "GET":
                    # What was refused before it has changed nothing; now a new state begins.
                    restore()
                    before = state()
        if state() != before:
            problems.append(f"{name}: what was refused has changed something")
            restore()
    holds(not problems, f"{len(problems)} of {count} requests went wrong (HEARTH_TEST_SEED={SEED}):\n" + "\n".join(problems[:60]))
    holds(count > 1500, f"only {count} requests were sent")


def bodies_that_are_no_json():
    restore()
    before = state()
    for name in ["CreateFunction", "CreateAlias", "UpdateFunctionConfiguration", "AddPermission", "TagResource", "PublishLayerVersion", "PutFunctionConcurrency", "UpdateFunctionUrlConfig"]:
        operation = op(name)
        request = {key: value for key, value in GOOD[name].items() if operation.input_shape.members[key].serialization.get("location")}
        impossible = [b'{"Timeout": 1e400}', b'{"FunctionName": "\\ud800"}'] if name == "CreateFunction" else []
        for data in [b"{", b"[]", b"null", b'"x"', b"7", b"\xff\xfe", b'{"a":' * 600, b"{" + b'"a":' + b"[" * 5000] + impossible:
            url = re.sub(r"\{(\w+)\}", lambda found: urllib.parse.quote(str(request.get(found.group(1), "x")), safe=""), operation.http["requestUri"])
            signed = AWSRequest(method=operation.http["method"], url=f"http://{endpoint.netloc}{url}", data=data)
            signer.add_auth(signed)
            raw = http.client.HTTPConnection(endpoint.netloc, timeout=20)
            raw.request(operation.http["method"], url, data, dict(signed.headers))
            answer = raw.getresponse()
            told = answer.read()
            holds(400 <= answer.status < 500 and answer.headers["x-amzn-ErrorType"] in ("SerializationException", "ValidationException"), f"{name} {data[:30]}: {answer.status} {told[:200]}")
    equal(state(), before, "what is refused changes nothing")
    for name in [NAME, "made"]:
        send(op("DeleteFunction"), {"FunctionName": name})


main(every_field_of_every_operation, bodies_that_are_no_json)
