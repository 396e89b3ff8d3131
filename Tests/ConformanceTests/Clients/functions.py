"""Functions, their code and configuration, versions and aliases."""

import datetime
import json
import urllib.error
import urllib.request

from common import *

aws = client()
SECOND = package(app_py="def handler(event, context):\n    return 'second'\n")

# The fields of a FunctionConfiguration as recorded from AWS (2025-11-25); answers to changes have those of the change beside them.
FIELDS = {
    "Architectures", "CodeSha256", "CodeSize", "Description", "EphemeralStorage", "FunctionArn", "FunctionName", "Handler", "LastModified",
    "LoggingConfig", "MemorySize", "PackageType", "RevisionId", "Role", "Runtime", "SnapStart", "Timeout", "TracingConfig", "Version",
}
SETTLED = FIELDS | {"LastUpdateStatus", "RuntimeVersionConfig", "State"}
CREATED = FIELDS | {"RuntimeVersionConfig", "State", "StateReason", "StateReasonCode"}
UPDATED = SETTLED | {"LastUpdateStatusReason", "LastUpdateStatusReasonCode"}


def life_of_a_function():
    made = create(aws, "life", Timeout=5, MemorySize=256, Description="first")
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 201)
    made = without_metadata(made)
    equal(set(made), CREATED)
    equal(
        {key: made[key] for key in CREATED - {"LastModified", "RevisionId", "RuntimeVersionConfig"}},
        {
            "Architectures": ["x86_64"], "CodeSha256": digest(ECHO), "CodeSize": len(ECHO), "Description": "first", "EphemeralStorage": {"Size": 512},
            "FunctionArn": ARN + "life", "FunctionName": "life", "Handler": "app.handler",
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/life"}, "MemorySize": 256, "PackageType": "Zip", "Role": ROLE,
            "Runtime": "python3.11", "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}, "State": "Pending",
            "StateReason": "The function is being created.", "StateReasonCode": "Creating", "Timeout": 5, "TracingConfig": {"Mode": "PassThrough"},
            "Version": "$LATEST",
        })
    modified = datetime.datetime.strptime(made["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
    holds(abs((datetime.datetime.now(datetime.timezone.utc) - modified).total_seconds()) < 60, made["LastModified"])
    for waiter in ["function_exists", "function_active", "function_active_v2", "function_updated", "function_updated_v2"]:
        aws.get_waiter(waiter).wait(FunctionName="life", WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    refused(aws.create_function, "ResourceConflictException", "Function already exist: life", 409,
            FunctionName="life", Role=ROLE, Runtime="python3.11", Handler="app.handler", Code={"ZipFile": ECHO})

    got = aws.get_function(FunctionName="life")
    equal(set(without_metadata(got)), {"Code", "Configuration"})
    equal(set(got["Configuration"]), SETTLED)
    equal((got["Configuration"]["State"], got["Configuration"]["LastUpdateStatus"]), ("Active", "Successful"))
    equal(got["Code"]["RepositoryType"], "S3")
    with urllib.request.urlopen(got["Code"]["Location"]) as answer:
        equal((answer.headers["Content-Type"], answer.read()), ("application/zip", ECHO), "Code.Location gives the package")
    try:
        urllib.request.urlopen(got["Code"]["Location"][:-4] + "0000")
        raise AssertionError("a wrong token was accepted")
    except urllib.error.HTTPError as error:
        equal(error.code, 403)
    configuration = without_metadata(aws.get_function_configuration(FunctionName="life"))
    equal(configuration, got["Configuration"])

    changed = aws.update_function_configuration(
        FunctionName="life", Description="second", Timeout=10, MemorySize=512, Environment={"Variables": {"A": "a"}}, RevisionId=configuration["RevisionId"])
    equal(set(without_metadata(changed)), UPDATED | {"Environment"})
    equal((changed["LastUpdateStatus"], changed["LastUpdateStatusReasonCode"], changed["State"]), ("InProgress", "Creating", "Active"))
    equal((changed["Description"], changed["Timeout"], changed["MemorySize"], changed["Environment"]), ("second", 10, 512, {"Variables": {"A": "a"}}))
    refused(aws.update_function_configuration, "PreconditionFailedException", "The Revision Id provided does not match", 412,
            FunctionName="life", Timeout=11, RevisionId=configuration["RevisionId"])
    refused(aws.update_function_code, "PreconditionFailedException", None, 412,
            FunctionName="life", ZipFile=SECOND, RevisionId=configuration["RevisionId"])
    aws.get_waiter("function_updated_v2").wait(FunctionName="life")
    after = aws.get_function_configuration(FunctionName="life")
    equal((after["Timeout"], after["CodeSha256"], after["LastUpdateStatus"]), (10, digest(ECHO), "Successful"), "what is refused changes nothing")

    dry = aws.update_function_code(FunctionName="life", ZipFile=SECOND, DryRun=True)
    holds("Version" in dry, "a dry run answers a configuration")
    equal(aws.get_function_configuration(FunctionName="life")["CodeSha256"], digest(ECHO), "a dry run changes nothing")
    coded = aws.update_function_code(FunctionName="life", ZipFile=SECOND)
    equal(set(without_metadata(coded)), UPDATED | {"Environment"})
    equal((coded["CodeSha256"], coded["CodeSize"], coded["Version"], coded["Timeout"]), (digest(SECOND), len(SECOND), "$LATEST", 10))
    equal(json.load(aws.invoke(FunctionName="life")["Payload"]), "second")

    gone = aws.delete_function(FunctionName="life")
    equal(gone["ResponseMetadata"]["HTTPStatusCode"], 204)
    refused(aws.get_function, "ResourceNotFoundException", f"Function not found: {ARN}life", 404, FunctionName="life")
    refused(aws.delete_function, "ResourceNotFoundException", f"Function not found: {ARN}life", 404, FunctionName="life")
    create(aws, "life")
    equal(aws.get_function_configuration(FunctionName="life")["MemorySize"], 128, "a new function of the old name has nothing of the old one")
    aws.delete_function(FunctionName="life")


def versions_and_aliases():
    made = create(aws, "versions", Publish=True, Description="one")
    equal((made["Version"], made["FunctionArn"], made["State"]), ("1", ARN + "versions", "Pending"))
    again = aws.publish_version(FunctionName="versions")
    equal((again["Version"], again["FunctionArn"], again["ResponseMetadata"]["HTTPStatusCode"]), ("1", ARN + "versions:1", 201), "nothing changed since")
    equal(set(without_metadata(again)), SETTLED)
    refused(aws.publish_version, "InvalidParameterValueException",
            f"CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({digest(ECHO)}). Please try again with the CodeSHA256 in $LATEST.", 400,
            FunctionName="versions", CodeSha256="wrong")
    aws.update_function_code(FunctionName="versions", ZipFile=SECOND)
    two = aws.publish_version(FunctionName="versions", Description="two", CodeSha256=digest(SECOND))
    equal((two["Version"], two["Description"]), ("2", "two"))
    three = aws.update_function_code(FunctionName="versions", ZipFile=ECHO, Publish=True)
    equal((three["Version"], three["FunctionArn"], three["State"]), ("3", ARN + "versions:3", "Pending"))
    listed = aws.list_versions_by_function(FunctionName="versions")["Versions"]
    equal([(one["Version"], one["FunctionArn"]) for one in listed],
          [("$LATEST", ARN + "versions:$LATEST")] + [(str(n), f"{ARN}versions:{n}") for n in (1, 2, 3)])
    for one in listed:
        equal(set(one), FIELDS)
    pages = list(aws.get_paginator("list_versions_by_function").paginate(FunctionName="versions", PaginationConfig={"PageSize": 3}))
    equal([[one["Version"] for one in page["Versions"]] for page in pages], [["$LATEST", "1", "2"], ["3"]])
    equal(aws.get_function(FunctionName="versions", Qualifier="2")["Configuration"]["CodeSha256"], digest(SECOND), "a version keeps its code")
    equal(aws.get_function(FunctionName="versions:2")["Configuration"]["FunctionArn"], ARN + "versions:2")
    equal(aws.get_function(FunctionName=ARN + "versions", Qualifier="$LATEST")["Configuration"]["FunctionArn"], ARN + "versions:$LATEST")
    equal(aws.get_function(FunctionName="000000000000:function:versions")["Configuration"]["FunctionArn"], ARN + "versions")
    refused(aws.get_function, "ResourceNotFoundException", f"Function not found: {ARN}versions:1221", 404, FunctionName="versions", Qualifier="1221")
    aws.get_waiter("published_version_active").wait(FunctionName="versions", Qualifier="2")

    alias = aws.create_alias(FunctionName="versions", Name="live", FunctionVersion="1", Description="traffic")
    equal(alias["ResponseMetadata"]["HTTPStatusCode"], 201)
    alias = without_metadata(alias)
    equal({k: alias[k] for k in alias if k != "RevisionId"},
          {"AliasArn": ARN + "versions:live", "Name": "live", "FunctionVersion": "1", "Description": "traffic"})
    equal(without_metadata(aws.get_alias(FunctionName="versions", Name="live")), alias)
    refused(aws.create_alias, "ResourceConflictException", f"Alias already exists: {ARN}versions:live", 409, FunctionName="versions", Name="live", FunctionVersion="2")
    refused(aws.create_alias, "ValidationException", "1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
            400, FunctionName="versions", Name="2024", FunctionVersion="1")
    refused(aws.create_alias, "ResourceNotFoundException", f"Function not found: {ARN}versions:77", 404, FunctionName="versions", Name="x", FunctionVersion="77")
    moved = aws.update_alias(FunctionName="versions", Name="live", FunctionVersion="2", RevisionId=alias["RevisionId"])
    equal((moved["FunctionVersion"], moved["Description"]), ("2", "traffic"))
    refused(aws.update_alias, "PreconditionFailedException", None, 412, FunctionName="versions", Name="live", FunctionVersion="1", RevisionId=alias["RevisionId"])
    refused(aws.update_alias, "ResourceNotFoundException", f"Alias not found: {ARN}versions:no", 404, FunctionName="versions", Name="no", FunctionVersion="1")
    aws.create_alias(FunctionName="versions", Name="2024-01-02", FunctionVersion="1")
    equal([one["Name"] for one in aws.list_aliases(FunctionName="versions")["Aliases"]], ["2024-01-02", "live"])
    equal([one["Name"] for one in aws.list_aliases(FunctionName="versions", FunctionVersion="2")["Aliases"]], ["live"])
    equal([len(page["Aliases"]) for page in aws.get_paginator("list_aliases").paginate(FunctionName="versions", PaginationConfig={"PageSize": 1})], [1, 1])
    equal(aws.get_function(FunctionName="versions", Qualifier="live")["Configuration"]["FunctionArn"], ARN + "versions:live")

    refused(aws.delete_function, "ResourceConflictException", None, 409, FunctionName="versions", Qualifier="2")
    refused(aws.delete_function, "InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function.", 400, FunctionName="versions", Qualifier="$LATEST")
    refused(aws.delete_function, "InvalidParameterValueException", "Deletion of aliases is not currently supported.", 400, FunctionName="versions", Qualifier="live")
    equal(aws.delete_alias(FunctionName="versions", Name="live")["ResponseMetadata"]["HTTPStatusCode"], 204)
    equal(aws.delete_alias(FunctionName="versions", Name="live")["ResponseMetadata"]["HTTPStatusCode"], 204, "deleting a missing alias is no error")
    refused(aws.get_alias, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}versions:live", 404, FunctionName="versions", Name="live")
    aws.delete_function(FunctionName="versions", Qualifier="3")
    aws.delete_function(FunctionName="versions", Qualifier="3")
    aws.update_function_code(FunctionName="versions", ZipFile=SECOND)
    equal(aws.publish_version(FunctionName="versions")["Version"], "4", "a number is never used again")
    aws.delete_function(FunctionName="versions")


def lists_come_in_pages():
    names = [f"page-{n}" for n in range(5)]
    for name in names:
        create(aws, name, Publish=name == "page-0")
    listed = [one for one in aws.list_functions()["Functions"] if one["FunctionName"].startswith("page-")]
    equal([(one["FunctionName"], one["FunctionArn"]) for one in listed], [(name, ARN + name) for name in names])
    for one in listed:
        equal(set(one), FIELDS, "lists leave the state out")
    pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    equal([one["FunctionName"] for page in pages for one in page["Functions"] if one["FunctionName"].startswith("page-")], names)
    holds(all(len(page["Functions"]) == 2 for page in pages[:-1]) and "NextMarker" not in pages[-1], "pages are full")
    everything = [one["FunctionArn"] for one in aws.list_functions(FunctionVersion="ALL")["Functions"] if one["FunctionName"] == "page-0"]
    equal(everything, [ARN + "page-0:$LATEST", ARN + "page-0:1"])
    loose = client(validate=False)
    refused(loose.list_functions, "ValidationException", "1 validation error detected: Value 'invalid' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
            400, FunctionVersion="invalid")
    refused(loose.list_functions, "ValidationException", "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1", 400, MaxItems=0)
    refused(aws.list_functions, "InvalidParameterValueException", None, 400, Marker="not a marker of ours")
    settings = aws.get_account_settings()
    holds(settings["AccountUsage"]["FunctionCount"] >= 5 and settings["AccountLimit"]["CodeSizeZipped"] == 52428800, settings)
    for name in names:
        aws.delete_function(FunctionName=name)


main(life_of_a_function, versions_and_aliases, lists_come_in_pages)
