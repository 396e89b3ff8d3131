"""Who gets which version, and who may: weights of aliases, function URLs, resource policies, tags, account settings."""

import json
import urllib.error
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from common import *

aws = client()
loose = client(validate=False)
WHO = package(app_py="""
def handler(event, context):
    if event.get('requestContext'):
        return {'statusCode': 200, 'headers': {'Access-Control-Allow-Origin': 'https://function'}, 'body': context.function_version + ' ' + str(event['requestContext'].get('authorizer', {}).get('iam', {}).get('accountId'))}
    return {'version': context.function_version, 'arn': context.invoked_function_arn}
""")


def weights():
    create(aws, "weights", WHO, Publish=True, Timeout=20)
    aws.update_function_configuration(FunctionName="weights", Description="two")
    aws.publish_version(FunctionName="weights")
    exact = {"AliasArn": ARN + "weights:split", "Name": "split", "FunctionVersion": "1", "Description": ""}
    made = aws.create_alias(FunctionName="weights", Name="split", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    equal({k: made[k] for k in exact} | {"RoutingConfig": made["RoutingConfig"]}, exact | {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}})
    equal(without_metadata(aws.get_alias(FunctionName="weights", Name="split")), without_metadata(made))
    equal([one.get("RoutingConfig") for one in aws.list_aliases(FunctionName="weights")["Aliases"]], [{"AdditionalVersionWeights": {"2": 0.5}}])

    def served(calls):
        """What served them: the version that the answer names is the one that the function is; the ARN is the alias's."""
        counts = {}
        for _ in range(calls):
            answer = aws.invoke(FunctionName="weights", Qualifier="split")
            told = json.load(answer["Payload"])
            equal((told["version"], told["arn"]), (answer["ExecutedVersion"], ARN + "weights:split"))
            counts[told["version"]] = counts.get(told["version"], 0) + 1
        return counts

    # Of 60 tosses fewer than 8 fall on one side with a probability of 10^-9.
    counts = served(60)
    holds(min(counts.get("1", 0), counts.get("2", 0)) >= 8, counts)
    aws.update_alias(FunctionName="weights", Name="split", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    equal(served(5), {"2": 5})
    aws.update_alias(FunctionName="weights", Name="split", Description="kept")
    equal(served(3), {"2": 3}, "what is not mentioned stays")
    refused(aws.delete_function, "ResourceConflictException", None, 409, FunctionName="weights", Qualifier="2")
    refused(aws.update_alias, "InvalidParameterValueException", "Invalid function version 2. Function version 2 is already included in routing configuration.", 400,
            FunctionName="weights", Name="split", FunctionVersion="2")
    refused(aws.put_provisioned_concurrency_config, "InvalidParameterValueException", "Alias with weights can not be used with Provisioned Concurrency", 400,
            FunctionName="weights", Qualifier="split", ProvisionedConcurrentExecutions=1)
    bare = aws.update_alias(FunctionName="weights", Name="split", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    equal((bare.get("RoutingConfig"), bare["FunctionVersion"]), (None, "2"), "no weights, no RoutingConfig")
    equal(served(3), {"2": 3})
    latest = aws.create_alias(FunctionName="weights", Name="newest", FunctionVersion="$LATEST")
    equal(latest["FunctionVersion"], "$LATEST")
    equal(aws.invoke(FunctionName="weights", Qualifier="newest")["ExecutedVersion"], "$LATEST")
    equal([one["Name"] for one in aws.list_aliases(FunctionName="weights", FunctionVersion="$LATEST")["Aliases"]], ["newest"])

    new = {"FunctionName": "weights", "Name": "x", "FunctionVersion": "1"}
    range_ = "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
    for routing, code, message in [
        ({"2": 0.1, "3": 0.1}, "InvalidParameterValueException", "Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ({"2": 2.0}, "ValidationException", "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: " + range_),
        ({"2": -1.0}, "ValidationException", "1 validation error detected: Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: " + range_),
        ({"1": 0.5}, "InvalidParameterValueException", "Invalid function version 1. Function version 1 is already included in routing configuration."),
        ({"10": 0.5}, "ResourceNotFoundException", f"Function not found: {ARN}weights:10"),
        ({"0": 0.5}, "ResourceNotFoundException", f"Function not found: {ARN}weights:0"),
        ({"$LATEST": 0.5}, "ValidationException", "1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"),
    ]:
        told = refused(loose.create_alias, code, **new, RoutingConfig={"AdditionalVersionWeights": routing})["Error"]["Message"]
        equal(told, message)
    refused(loose.create_alias, "InvalidParameterValueException", "$LATEST is not supported for an alias pointing to more than 1 version", 400,
            FunctionName="weights", Name="x", FunctionVersion="$LATEST", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    refused(loose.create_alias, "ResourceNotFoundException", f"Function not found: {ARN}unknown:1", 404, FunctionName="unknown", Name="x", FunctionVersion="1")
    refused(aws.get_alias, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}weights:x", 404, FunctionName="weights", Name="x")


def fetch(url, method="GET", headers={}, signed=False, body=None):
    if signed:
        session = botocore.session.get_session()
        request = AWSRequest(method=method, url=url, headers=headers, data=body)
        SigV4Auth(session.get_credentials(), "lambda", "us-east-1").add_auth(request)
        headers = dict(request.headers)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers, data=body)) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


FORBIDDEN = json.dumps({"Message": "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}, separators=(",", ":"))


def urls():
    create(aws, "urls", WHO, Publish=True, Timeout=20)
    aws.create_alias(FunctionName="urls", Name="one", FunctionVersion="1")
    refused(aws.get_function_url_config, "ResourceNotFoundException", "The resource you requested does not exist.", 404, FunctionName="urls")
    made = aws.create_function_url_config(FunctionName="urls", AuthType="NONE")
    equal(set(without_metadata(made)), {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime"})
    equal((made["ResponseMetadata"]["HTTPStatusCode"], made["FunctionArn"], made["AuthType"]), (201, ARN + "urls", "NONE"))
    refused(aws.create_function_url_config, "ResourceConflictException",
            f"Failed to create function url config for [functionArn = {ARN}urls]. Error message:  FunctionUrlConfig exists for this Lambda function", 409,
            FunctionName="urls", AuthType="NONE")
    got = aws.get_function_url_config(FunctionName="urls")
    equal(set(without_metadata(got)), {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime", "LastModifiedTime", "InvokeMode"})
    equal(got["InvokeMode"], "BUFFERED")

    # Nobody is let in until the policy says so, and only whom it names.
    status, body, headers = fetch(made["FunctionUrl"])
    equal((status, body, headers["x-amzn-ErrorType"]), (403, FORBIDDEN, "AccessDeniedException"))
    aws.add_permission(FunctionName="urls", StatementId="invoke", Action="lambda:InvokeFunction", Principal="*")
    aws.add_permission(FunctionName="urls", StatementId="signed", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="AWS_IAM")
    aws.add_permission(FunctionName="urls", StatementId="s3", Action="lambda:InvokeFunctionUrl", Principal="s3.amazonaws.com", FunctionUrlAuthType="NONE")
    aws.add_permission(FunctionName="urls", StatementId="source", Action="lambda:InvokeFunctionUrl", Principal="*", SourceAccount="123456789012")
    equal(fetch(made["FunctionUrl"])[0], 403, "none of these means everybody")
    aws.add_permission(FunctionName="urls", StatementId="public", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    equal(fetch(made["FunctionUrl"])[:2], (200, "$LATEST None"))
    aws.remove_permission(FunctionName="urls", StatementId="public")
    equal(fetch(made["FunctionUrl"])[0], 403)

    # An alias has a URL and a policy of its own.
    alias = aws.create_function_url_config(FunctionName="urls", Qualifier="one", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    equal((alias["FunctionArn"], alias["InvokeMode"]), (ARN + "urls:one", "RESPONSE_STREAM"))
    equal([one["FunctionArn"] for one in aws.list_function_url_configs(FunctionName="urls")["FunctionUrlConfigs"]], [ARN + "urls", ARN + "urls:one"])
    pages = list(aws.get_paginator("list_function_url_configs").paginate(FunctionName="urls", PaginationConfig={"PageSize": 1}))
    equal([len(page["FunctionUrlConfigs"]) for page in pages], [1, 1])
    status, body, headers = fetch(alias["FunctionUrl"])
    equal((status, body, headers["x-amzn-ErrorType"]), (403, '{"Message":"Forbidden"}', "AccessDeniedException"))
    equal(fetch(alias["FunctionUrl"] + "a%20b/?x=1&y=%2F", signed=True)[:2], (200, "1 000000000000"))
    equal(fetch(alias["FunctionUrl"], "POST", signed=True, body=b"hello")[:2], (200, "1 000000000000"))
    wrong = {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20261125/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=00"}
    equal(fetch(alias["FunctionUrl"], headers=wrong)[:2], (403, '{"Message":"Forbidden"}'))
    equal(fetch(made["FunctionUrl"], signed=True)[0], 403, "a signature opens no URL without authentication")

    # Pages of other origins.
    cors = {"AllowOrigins": ["https://page.example"], "AllowMethods": ["GET", "PUT"], "AllowHeaders": ["x-one", "x-two"], "ExposeHeaders": ["date"], "MaxAge": 300, "AllowCredentials": True}
    changed = aws.update_function_url_config(FunctionName="urls", Qualifier="one", AuthType="NONE", Cors=cors)
    equal((changed["AuthType"], changed["Cors"], changed["InvokeMode"]), ("NONE", cors, "RESPONSE_STREAM"), "what is not mentioned stays")
    aws.add_permission(FunctionName="urls", Qualifier="one", StatementId="public", Action="lambda:*", Principal="*")
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "PUT"}
    status, body, headers = fetch(alias["FunctionUrl"], "OPTIONS", asked)
    equal((status, body), (200, ""))
    equal({name: headers[name] for name in headers if name.lower().startswith("access-control-")},
          {"Access-Control-Allow-Origin": "https://page.example", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "GET,PUT",
           "Access-Control-Allow-Headers": "x-one,x-two", "Access-Control-Max-Age": "300"})
    equal(fetch(alias["FunctionUrl"], "OPTIONS", asked | {"Origin": "https://other.example"})[2]["Access-Control-Allow-Origin"], None)
    status, body, headers = fetch(alias["FunctionUrl"], headers={"Origin": "https://page.example"})
    equal((status, headers.get_all("Access-Control-Allow-Origin"), headers["Access-Control-Expose-Headers"], headers["Vary"]),
          (200, ["https://page.example"], "date", "Origin"), "the URL speaks for the function")
    equal(fetch(alias["FunctionUrl"])[2]["Access-Control-Allow-Origin"], None, "not even the function's own is told to others")

    # What is left of it when its alias goes.
    aws.delete_alias(FunctionName="urls", Name="one")
    equal(fetch(alias["FunctionUrl"])[:2], (403, FORBIDDEN))
    equal(aws.delete_function_url_config(FunctionName="urls")["ResponseMetadata"]["HTTPStatusCode"], 204)
    refused(aws.delete_function_url_config, "ResourceNotFoundException", "The resource you requested does not exist.", 404, FunctionName="urls")
    equal(fetch(made["FunctionUrl"])[0], 403)
    aws.delete_function_url_config(FunctionName="urls", Qualifier="one")

    pattern = r"' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    calls = [aws.create_function_url_config, aws.get_function_url_config, aws.update_function_url_config, aws.delete_function_url_config]
    for call in calls:
        more = {"AuthType": "NONE"} if call is calls[0] else {}
        for qualifier in ["1", "$LATEST"]:
            refused(loose.__getattribute__(call.__name__), "ValidationException", f"1 validation error detected: Value '{qualifier}{pattern}", 400, FunctionName="doesnotexist", Qualifier=qualifier, **more)
        own = "The resource you requested does not exist." if call.__name__[:3] in ("get", "del") else "Function does not exist"
        refused(call, "ResourceNotFoundException", own, 404, FunctionName="doesnotexist", **more)
        refused(call, "ResourceNotFoundException", own, 404, FunctionName="urls", Qualifier="nosuchalias", **more)
    refused(aws.list_function_url_configs, "ResourceNotFoundException", "Function does not exist", 404, FunctionName="doesnotexist")
    for more in [{"AuthType": "OPEN"}, {"AuthType": "NONE", "InvokeMode": "UNKNOWN"}, {"AuthType": "NONE", "Cors": {"AllowMethods": ["FETCH"]}}, {"AuthType": "NONE", "Cors": {"MaxAge": 86401}}]:
        refused(loose.create_function_url_config, "ValidationException", None, 400, FunctionName="urls", **more)
    refused(loose.create_function_url_config, "InvalidParameterValueException", None, 400, FunctionName="urls", AuthType="NONE", Cors={"AllowOrigins": ["https://a\r\nSet-Cookie: x"]})
    equal(aws.list_function_url_configs(FunctionName="urls")["FunctionUrlConfigs"], [], "what is refused makes nothing")


def policies():
    create(aws, "policies", Publish=True)
    revision = aws.get_function(FunctionName="policies")["Configuration"]["RevisionId"]
    refused(aws.get_policy, "ResourceNotFoundException", "The resource you requested does not exist.", 404, FunctionName="policies")
    refused(aws.remove_permission, "ResourceNotFoundException", "No policy is associated with the given resource.", 404, FunctionName="policies", StatementId="s3")
    s3 = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::bucket"}
    added = aws.add_permission(FunctionName="policies", RevisionId=revision, **s3)
    statement = {"Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Resource": ARN + "policies",
                 "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}}}
    equal((added["ResponseMetadata"]["HTTPStatusCode"], json.loads(added["Statement"])), (201, statement))
    holds(aws.get_function(FunctionName="policies")["Configuration"]["RevisionId"] != revision, "a policy is part of its function")
    refused(aws.add_permission, "ResourceConflictException", "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.", 409,
            FunctionName="policies", **s3)
    policy = aws.get_policy(FunctionName="policies")
    equal(json.loads(policy["Policy"]), {"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
    for principal, shown in [("*", "*"), ("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}), ("arn:aws:iam::123456789012:user/ada", {"AWS": "arn:aws:iam::123456789012:user/ada"})]:
        told = json.loads(aws.add_permission(FunctionName="policies", StatementId="who", Action="lambda:InvokeFunctionUrl", Principal=principal, SourceAccount="123456789012",
                                             FunctionUrlAuthType="NONE", PrincipalOrgID="o-1234567890", EventSourceToken="t.o-k_en")["Statement"])
        equal((told["Principal"], told["Condition"]), (shown, {"StringEquals": {"AWS:SourceAccount": "123456789012", "lambda:FunctionUrlAuthType": "NONE", "aws:PrincipalOrgID": "o-1234567890", "lambda:EventSourceToken": "t.o-k_en"}}))
        aws.remove_permission(FunctionName="policies", StatementId="who")
    refused(aws.add_permission, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id", 412,
            FunctionName="policies", StatementId="x", Action="lambda:*", Principal="*", RevisionId=policy["RevisionId"])
    refused(aws.remove_permission, "PreconditionFailedException", None, 412, FunctionName="policies", StatementId="s3", RevisionId="wrong")
    refused(aws.remove_permission, "ResourceNotFoundException", "Statement non-existent is not found in resource policy.", 404, FunctionName="policies", StatementId="non-existent")

    # Of a version and an alias.
    equal(json.loads(aws.add_permission(FunctionName="policies", Qualifier="1", **s3)["Statement"])["Resource"], ARN + "policies:1")
    aws.create_alias(FunctionName="policies", Name="live", FunctionVersion="1")
    before = aws.get_alias(FunctionName="policies", Name="live")["RevisionId"]
    equal(json.loads(aws.add_permission(FunctionName="policies", Qualifier="live", RevisionId=before, **s3)["Statement"])["Resource"], ARN + "policies:live")
    holds(aws.get_alias(FunctionName="policies", Name="live")["RevisionId"] != before, "a policy is part of its alias")
    equal([len(json.loads(aws.get_policy(FunctionName="policies", **q)["Policy"])["Statement"]) for q in ({}, {"Qualifier": "1"}, {"Qualifier": "live"})], [1, 1, 1])
    equal(aws.remove_permission(FunctionName="policies", StatementId="s3")["ResponseMetadata"]["HTTPStatusCode"], 204)
    refused(aws.get_policy, "ResourceNotFoundException", "The resource you requested does not exist.", 404, FunctionName="policies")

    some = {"StatementId": "x", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    for code, message, arguments in [
        ("ValidationException", "1 validation error detected: Value 'example.com' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)", {"StatementId": "example.com"}),
        ("InvalidParameterValueException", "We currently do not support adding policies for $LATEST.", {"Qualifier": "$LATEST"}),
        ("InvalidParameterValueException", "The provided principal was invalid. Please check the principal and try again.", {"Principal": "invalid.nonaws.com"}),
        ("ResourceNotFoundException", f"Function not found: {ARN}doesnotexist", {"FunctionName": "doesnotexist"}),
        ("ResourceNotFoundException", f"Cannot find alias arn: {ARN}policies:alias-doesnotexist", {"Qualifier": "alias-doesnotexist"}),
        ("ResourceNotFoundException", f"Function not found: {ARN}policies:42", {"Qualifier": "42"}),
        ("ResourceNotFoundException", f"Function not found: {ARN}policies:valid-with-$-but-doesnotexist", {"Qualifier": "valid-with-$-but-doesnotexist"}),
        ("ValidationException", None, {"Action": "s3:GetObject"}), ("ValidationException", None, {"SourceArn": "bucket"}), ("ValidationException", None, {"SourceAccount": "1"}),
    ]:
        refused(loose.add_permission, code, message, **({"FunctionName": "policies"} | some | arguments))
    refused(aws.remove_permission, "ResourceNotFoundException", f"No policy found for: {ARN}doesnotexist", 404, FunctionName="doesnotexist", StatementId="s3")
    for number in range(200):
        try:
            aws.add_permission(FunctionName="policies", **(some | {"StatementId": f"s{number}", "SourceArn": "arn:aws:s3:::" + "b" * 200}))
        except aws.exceptions.PolicyLengthExceededException as error:
            equal(error.response["ResponseMetadata"]["HTTPStatusCode"], 400)
            break
    else:
        raise AssertionError("a policy may be of any length")


def tags():
    create(aws, "tags", Tags={"a": "1"}, Publish=True)
    arn = ARN + "tags"
    revision = aws.get_function(FunctionName="tags")["Configuration"]["RevisionId"]
    equal(aws.get_function(FunctionName="tags")["Tags"], {"a": "1"})
    equal(aws.tag_resource(Resource=arn, Tags={"a": "2", "b": "3", "c": "4"})["ResponseMetadata"]["HTTPStatusCode"], 204)
    holds(aws.get_function(FunctionName="tags")["Configuration"]["RevisionId"] != revision, "tags are part of their function")
    equal(aws.list_tags(Resource=arn)["Tags"], {"a": "2", "b": "3", "c": "4"})
    equal(aws.untag_resource(Resource=arn, TagKeys=["a", "b", "never"])["ResponseMetadata"]["HTTPStatusCode"], 204)
    equal(aws.list_tags(Resource=arn)["Tags"], {"c": "4"})
    refused(aws.tag_resource, "InvalidParameterValueException", "Number of tags exceeds resource tag limit.", 400, Resource=arn, Tags={f"k{n}": "" for n in range(50)})
    equal(aws.list_tags(Resource=arn)["Tags"], {"c": "4"}, "what is refused changes nothing")
    aws.untag_resource(Resource=arn, TagKeys=["c"])
    holds("Tags" not in aws.get_function(FunctionName="tags"), "no tags, no field")
    for qualifier in ["1", "$LATEST", "none"]:
        refused(aws.tag_resource, "InvalidParameterValueException", "Tags on function aliases and versions are not supported. Please specify a function ARN.", 400, Resource=f"{arn}:{qualifier}", Tags={"a": "b"})
    for call, more in [(aws.tag_resource, {"Tags": {"a": "b"}}), (aws.untag_resource, {"TagKeys": ["a"]}), (aws.list_tags, {})]:
        refused(call, "ResourceNotFoundException", f"Function not found: {ARN}doesnotexist", 404, Resource=ARN + "doesnotexist", **more)
        refused(loose.__getattribute__(call.__name__), "ValidationException", "1 validation error detected: Value 'arn:aws:something' at 'resource' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:", 400,
                Resource="arn:aws:something", **more)
    refused(aws.untag_resource, "ValidationException", "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null", 400, Resource=arn, TagKeys=[])
    refused(aws.tag_resource, "InvalidParameterValueException", "An error occurred and the request cannot be processed.", 400, Resource=arn, Tags={})


def account():
    before = aws.get_account_settings()
    equal(set(before["AccountLimit"]), {"CodeSizeUnzipped", "CodeSizeZipped", "ConcurrentExecutions", "TotalCodeSize", "UnreservedConcurrentExecutions"})
    create(aws, "account")
    aws.put_function_concurrency(FunctionName="account", ReservedConcurrentExecutions=7)
    after = aws.get_account_settings()
    equal(after["AccountLimit"]["UnreservedConcurrentExecutions"], before["AccountLimit"]["UnreservedConcurrentExecutions"] - 7)
    equal(after["AccountUsage"]["FunctionCount"], before["AccountUsage"]["FunctionCount"] + 1)
    equal(after["AccountUsage"]["TotalCodeSize"], before["AccountUsage"]["TotalCodeSize"] + len(ECHO))
    left = after["AccountLimit"]["UnreservedConcurrentExecutions"]
    refused(aws.put_function_concurrency, "InvalidParameterValueException", "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].", 400,
            FunctionName="account", ReservedConcurrentExecutions=left + 7 - 99)
    create(aws, "account-2", Publish=True)
    refused(aws.put_provisioned_concurrency_config, "InvalidParameterValueException", f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{left}].", 400,
            FunctionName="account-2", Qualifier="1", ProvisionedConcurrentExecutions=left + 1)
    refused(aws.put_provisioned_concurrency_config, "InvalidParameterValueException", "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].", 400,
            FunctionName="account-2", Qualifier="1", ProvisionedConcurrentExecutions=left - 99)
    for name in ["account", "account-2"]:
        aws.delete_function(FunctionName=name)


main(weights, urls, policies, tags, account)
