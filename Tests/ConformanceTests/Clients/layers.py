"""Layers, and code that lies in a bucket of the node."""

import json
import urllib.request

from common import *

aws = client()
loose = client(validate=False)
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:"
READS = package(app_py="""
import os, subprocess
def handler(event, context):
    import shared
    try:
        open('/opt/new', 'w')
        wrote = True
    except OSError:
        wrote = False
    return {'shared': shared.NAME, 'file': open('/opt/data.txt').read(), 'tool': subprocess.run(['tool'], capture_output=True, text=True).stdout.strip(),
            'wrote': wrote, 'sees': sorted(os.listdir('/opt'))}
""")


def layer(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "/").replace("_", "."))
            entry.create_system = 3
            entry.external_attr = (0o100755 if "bin" in name else 0o100644) << 16
            archive.writestr(entry, text)
    return data.getvalue()


FIRST = layer(python__shared_py="NAME = 'first'", data_txt="one", bin__tool="#!/bin/sh\necho tool of the first\n")
SECOND = layer(python__shared_py="NAME = 'second'", only_txt="x")


def publish_and_read():
    made = aws.publish_layer_version(
        LayerName="first", Content={"ZipFile": FIRST}, Description="the first", CompatibleRuntimes=["python3.11", "python3.12"],
        LicenseInfo="MIT", CompatibleArchitectures=["x86_64"])
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 201)
    equal({k: made[k] for k in ["LayerArn", "LayerVersionArn", "Description", "Version", "CompatibleRuntimes", "LicenseInfo", "CompatibleArchitectures"]},
          {"LayerArn": LAYER + "first", "LayerVersionArn": LAYER + "first:1", "Description": "the first", "Version": 1, "CompatibleRuntimes": ["python3.11", "python3.12"], "LicenseInfo": "MIT", "CompatibleArchitectures": ["x86_64"]})
    equal((made["Content"]["CodeSha256"], made["Content"]["CodeSize"]), (digest(FIRST), len(FIRST)))
    with urllib.request.urlopen(made["Content"]["Location"]) as answer:
        equal(answer.read(), FIRST, "Location gives the package")
    for name in ["first", LAYER + "first"]:
        equal(without_metadata(aws.get_layer_version(LayerName=name, VersionNumber=1)), without_metadata(made))
    equal(without_metadata(aws.get_layer_version_by_arn(Arn=LAYER + "first:1")), without_metadata(made))
    equal(aws.publish_layer_version(LayerName="first", Content={"ZipFile": SECOND})["Version"], 2)
    aws.publish_layer_version(LayerName="second", Content={"ZipFile": SECOND}, CompatibleRuntimes=["nodejs20.x"])
    equal([one["Version"] for one in aws.list_layer_versions(LayerName="first")["LayerVersions"]], [2, 1], "the newest first")
    equal([one["Version"] for one in aws.list_layer_versions(LayerName="first", CompatibleRuntime="python3.12")["LayerVersions"]], [1])
    equal([(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in aws.list_layers()["Layers"]], [("first", 2), ("second", 1)])
    equal([one["LayerName"] for one in aws.list_layers(CompatibleRuntime="nodejs20.x")["Layers"]], ["second"])
    equal([[one["LayerName"] for one in page["Layers"]] for page in aws.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 1})], [["first"], ["second"]])


def attach_and_run():
    made = create(aws, "layered", READS, Layers=[LAYER + "first:1"], Timeout=20)
    equal(made["Layers"], [{"Arn": LAYER + "first:1", "CodeSize": len(FIRST)}])
    equal(json.load(aws.invoke(FunctionName="layered")["Payload"]),
          {"shared": "first", "file": "one", "tool": "tool of the first", "wrote": False, "sees": ["bin", "data.txt", "python"]})
    aws.update_function_configuration(FunctionName="layered", Layers=[LAYER + "first:1", LAYER + "second:1"])
    both = json.load(aws.invoke(FunctionName="layered")["Payload"])
    equal((both["shared"], both["file"], both["sees"]), ("second", "one", ["bin", "data.txt", "only.txt", "python"]), "the later one is on top")
    # What runs with a layer keeps it.
    equal(aws.delete_layer_version(LayerName="second", VersionNumber=1)["ResponseMetadata"]["HTTPStatusCode"], 204)
    aws.delete_layer_version(LayerName="second", VersionNumber=1)
    refused(aws.get_layer_version, "ResourceNotFoundException", "The resource you requested does not exist.", 404, LayerName="second", VersionNumber=1)
    aws.update_function_configuration(FunctionName="layered", Description="another version of it")
    equal(json.load(aws.invoke(FunctionName="layered")["Payload"])["shared"], "second")
    equal(aws.publish_layer_version(LayerName="second", Content={"ZipFile": FIRST})["Version"], 2, "a number is never used again")
    aws.update_function_configuration(FunctionName="layered", Layers=[])
    bare = aws.invoke(FunctionName="layered")
    holds("Layers" not in aws.get_function_configuration(FunctionName="layered") and bare.get("FunctionError") == "Unhandled", "no layers left")


def refusals():
    gone = "The resource you requested does not exist."
    refused(aws.get_layer_version, "ResourceNotFoundException", gone, 404, LayerName="first", VersionNumber=9)
    refused(aws.get_layer_version, "ResourceNotFoundException", gone, 404, LayerName="doesnotexist", VersionNumber=1)
    refused(aws.get_layer_version_by_arn, "ResourceNotFoundException", gone, 404, Arn=LAYER + "first:9")
    refused(loose.get_layer_version_by_arn, "ValidationException", f"1 validation error detected: Value '{LAYER}first' at 'arn' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:", 400, Arn=LAYER + "first")
    for number in [0, -1]:
        refused(aws.get_layer_version, "InvalidParameterValueException", "Layer Version Cannot be less than 1", 400, LayerName="first", VersionNumber=number)
        refused(aws.delete_layer_version, "InvalidParameterValueException", "Layer Version Cannot be less than 1", 400, LayerName="first", VersionNumber=number)
    refused(loose.list_layers, "ValidationException", "1 validation error detected: Value 'runtimedoesnotexist' at 'compatibleRuntime' failed to satisfy constraint: Member must satisfy enum value set: [", 400, CompatibleRuntime="runtimedoesnotexist")
    refused(loose.list_layers, "ValidationException", "1 validation error detected: Value 'archdoesnotexist' at 'compatibleArchitecture' failed to satisfy constraint: Member must satisfy enum value set: [x86_64, arm64]", 400, CompatibleArchitecture="archdoesnotexist")
    refused(loose.publish_layer_version, "ValidationException", None, 400, LayerName="x", Content={"ZipFile": FIRST}, CompatibleArchitectures=["invalidarch"])
    refused(loose.publish_layer_version, "ValidationException", None, 400, LayerName="a b", Content={"ZipFile": FIRST})
    refused(aws.publish_layer_version, "InvalidParameterValueException", "Could not unzip uploaded file.", 400, LayerName="x", Content={"ZipFile": b"no zip"})
    two = "Two different versions of the same layer are not allowed to be referenced in the same function. {0}first:1 and {0}first:2 are versions of the same layer.".format(LAYER)
    for layers, code, message in [
        ([LAYER + "first:1", LAYER + "first:2"], "InvalidParameterValueException", two),
        ([LAYER + "doesnotexist:1"], "InvalidParameterValueException", f"Layer version {LAYER}doesnotexist:1 does not exist."),
        ([LAYER + "first:9"], "InvalidParameterValueException", f"Layer version {LAYER}first:9 does not exist."),
        ([LAYER.replace("us-east-1", "eu-west-1") + "first:1"], "InvalidParameterValueException", "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."),
        ([f"{LAYER}l{n}:1" for n in range(6)], "InvalidParameterValueException", "Cannot reference more than 5 layers."),
        ([LAYER + "first"], "ValidationException", f"1 validation error detected: Value '[{LAYER}first]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: (arn:"),
    ]:
        new = {"FunctionName": "x", "Role": ROLE, "Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": ECHO}}
        for call, arguments in [(loose.create_function, new), (loose.update_function_configuration, {"FunctionName": "layered"})]:
            refused(call, code, message, 400, **(arguments | {"Layers": layers}))
    refused(aws.get_function, "ResourceNotFoundException", None, 404, FunctionName="x")


def code_and_layers_share_one_bound():
    """250 MB of files, wherever they are."""
    half = io.BytesIO()
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
        archive.writestr("zeros", bytes(140 << 20))
    aws.publish_layer_version(LayerName="half", Content={"ZipFile": half.getvalue()})
    create(aws, "half", half.getvalue())
    for call, arguments in [(aws.update_function_configuration, {"FunctionName": "half", "Layers": [LAYER + "half:1"]}),
                            (aws.create_function, {"FunctionName": "whole", "Role": ROLE, "Runtime": "python3.11", "Handler": "app.handler", "Code": {"ZipFile": half.getvalue()}, "Layers": [LAYER + "half:1"]})]:
        refused(call, "InvalidParameterValueException", "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 2936", 400, **arguments)
    aws.update_function_code(FunctionName="half", ZipFile=ECHO)
    aws.update_function_configuration(FunctionName="half", Layers=[LAYER + "half:1"])
    refused(aws.update_function_code, "InvalidParameterValueException", "Function code combined with layers exceeds", 400, FunctionName="half", ZipFile=half.getvalue())
    aws.delete_function(FunctionName="half")


def policies_of_layers():
    layer_1 = {"LayerName": "first", "VersionNumber": 1}
    one = {"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    refused(aws.get_layer_version_policy, "ResourceNotFoundException", "No policy is associated with the given resource.", 404, **layer_1)
    added = aws.add_layer_version_permission(**layer_1, **one)
    equal(json.loads(added["Statement"]), {"Sid": "s1", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": LAYER + "first:1"})
    refused(aws.add_layer_version_permission, "ResourceConflictException", "The statement id (s1) provided already exists.", 409, **layer_1, **one)
    refused(aws.add_layer_version_permission, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id", 412,
            **layer_1, **(one | {"StatementId": "s2", "RevisionId": "wrong"}))
    policy = aws.get_layer_version_policy(**layer_1)
    equal((policy["RevisionId"], len(json.loads(policy["Policy"])["Statement"])), (added["RevisionId"], 1))
    refused(loose.add_layer_version_permission, "ValidationException", "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: lambda:GetLayerVersion", 400,
            **layer_1, **(one | {"Action": "*"}))
    refused(aws.remove_layer_version_permission, "ResourceNotFoundException", "Statement s9 is not found in resource policy.", 404, **layer_1, StatementId="s9")
    equal(aws.remove_layer_version_permission(**layer_1, StatementId="s1")["ResponseMetadata"]["HTTPStatusCode"], 204)
    missing = f"Layer version {LAYER}doesnotexist:1 does not exist."
    refused(aws.get_layer_version_policy, "ResourceNotFoundException", missing, 404, LayerName="doesnotexist", VersionNumber=1)
    refused(aws.add_layer_version_permission, "ResourceNotFoundException", missing, 404, LayerName="doesnotexist", VersionNumber=1, **one)


def code_from_buckets():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="packages")
    s3.put_bucket_versioning(Bucket="packages", VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket="packages", Key="a/echo.zip", Body=package(app_py="def handler(event, context):\n    return 'old'\n"))["VersionId"]
    # Larger than what the store gives in one piece.
    large = package(app_py="def handler(event, context):\n    return 'new'\n", padding_bin="".join(chr(33 + (n * n * 7919) % 90) for n in range(900_000)))
    s3.put_object(Bucket="packages", Key="a/echo.zip", Body=large)
    where = {"S3Bucket": "packages", "S3Key": "a/echo.zip"}
    made = aws.create_function(FunctionName="bucket", Role=ROLE, Runtime="python3.11", Handler="app.handler", Code=where)
    equal((made["CodeSha256"], made["CodeSize"]), (digest(large), len(large)))
    equal(json.load(aws.invoke(FunctionName="bucket")["Payload"]), "new")
    aws.update_function_code(FunctionName="bucket", **where, S3ObjectVersion=old)
    equal(json.load(aws.invoke(FunctionName="bucket")["Payload"]), "old")
    equal(aws.publish_layer_version(LayerName="stored", Content=where)["Content"]["CodeSha256"], digest(large))
    failed = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"
    for more, code, message in [
        ({"S3Bucket": "nosuchbucket"}, "NoSuchBucket", "The specified bucket does not exist"), ({"S3Key": "nosuchkey"}, "NoSuchKey", "The specified key does not exist."),
        ({"S3ObjectVersion": "nosuchversion"}, "NoSuchVersion", "The specified version does not exist."),
    ]:
        refused(aws.update_function_code, "InvalidParameterValueException", failed.format(code, message), 400, FunctionName="bucket", **(where | more))
    s3.put_object(Bucket="packages", Key="text", Body=b"no zip")
    refused(aws.update_function_code, "InvalidParameterValueException", "Could not unzip uploaded file.", 400, FunctionName="bucket", S3Bucket="packages", S3Key="text")
    equal(json.load(aws.invoke(FunctionName="bucket")["Payload"]), "old", "what is refused changes nothing")


main(publish_and_read, attach_and_run, refusals, code_and_layers_share_one_bound, policies_of_layers, code_from_buckets)
