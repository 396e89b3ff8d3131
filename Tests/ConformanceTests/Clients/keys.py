"""What access keys with policies may and may not do, as boto3 sees it.

HEARTH_KEYS holds the credentials that the test has made, by name: the policies stand in KeyTests.swift.
"""

import os
import time
import urllib.error
import urllib.request

from common import *

KEYS = json.loads(os.environ["HEARTH_KEYS"])
USER = "arn:aws:iam::000000000000:user/"
NO_RETRIES = Config(retries={"max_attempts": 0}, read_timeout=60, request_checksum_calculation="when_required")


def of(name, service):
    key = KEYS[name]
    # Addresses are presigned in the form of before unless one asks.
    config = NO_RETRIES.merge(Config(signature_version="s3v4")) if service == "s3" else NO_RETRIES
    return boto3.client(
        service, config=config, aws_access_key_id=key["access_key_id"], aws_secret_access_key=key["secret_access_key"],
        aws_session_token=key.get("session_token"))


def denied(call, action, resource, user=None, why=None, code="AccessDenied", **arguments):
    told = refused(call, code, status=403, **arguments)["Error"]["Message"]
    for words in (f"is not authorized to perform: {action} on resource: ", resource, why or f"because no identity-based policy allows the {action} action"):
        holds(words in told, f"{words} not in: {told}")
    if user:
        holds(told.startswith(f"User: {USER}{user} is not"), told)


root = boto3.client("s3", config=NO_RETRIES)
for name in ("vault", "attic"):
    root.create_bucket(Bucket=name)
    for key in ("pub/a", "private/a"):
        root.put_object(Bucket=name, Key=key, Body=b"text of " + key.encode())


def a_reader_reads_what_it_may_and_nothing_else():
    s3 = of("reader", "s3")
    equal(s3.get_object(Bucket="vault", Key="pub/a")["Body"].read(), b"text of pub/a")
    equal(s3.head_object(Bucket="vault", Key="pub/a")["ContentLength"], 13)
    equal([entry["Key"] for entry in s3.list_objects_v2(Bucket="vault", Prefix="pub/")["Contents"]], ["pub/a"])
    denied(s3.list_objects_v2, "s3:ListBucket", "arn:aws:s3:::vault", "reader", Bucket="vault")
    denied(s3.list_objects_v2, "s3:ListBucket", "arn:aws:s3:::attic", "reader", Bucket="attic", Prefix="pub/")
    denied(s3.get_object, "s3:GetObject", "arn:aws:s3:::vault/private/a", "reader", Bucket="vault", Key="private/a")
    denied(s3.get_object, "s3:GetObject", "arn:aws:s3:::attic/pub/a", "reader", Bucket="attic", Key="pub/a")
    refused(s3.head_object, "403", Bucket="vault", Key="private/a")
    denied(s3.put_object, "s3:PutObject", "arn:aws:s3:::vault/pub/b", "reader", Bucket="vault", Key="pub/b", Body=b"")
    denied(s3.delete_object, "s3:DeleteObject", "arn:aws:s3:::vault/pub/a", "reader", Bucket="vault", Key="pub/a")
    denied(s3.list_buckets, "s3:ListAllMyBuckets", "arn:aws:s3:::*", "reader")
    denied(s3.create_bucket, "s3:CreateBucket", "arn:aws:s3:::mine", "reader", Bucket="mine")
    denied(s3.delete_bucket, "s3:DeleteBucket", "arn:aws:s3:::vault", "reader", Bucket="vault")
    denied(s3.get_bucket_policy, "s3:GetBucketPolicy", "arn:aws:s3:::vault", "reader", Bucket="vault")
    denied(s3.put_bucket_versioning, "s3:PutBucketVersioning", "arn:aws:s3:::vault", "reader", Bucket="vault", VersioningConfiguration={"Status": "Enabled"})
    denied(s3.get_object_acl, "s3:GetObjectAcl", "arn:aws:s3:::vault/pub/a", "reader", Bucket="vault", Key="pub/a")
    denied(s3.copy_object, "s3:PutObject", "arn:aws:s3:::vault/pub/c", "reader", Bucket="vault", Key="pub/c", CopySource="vault/pub/a")
    denied(s3.create_multipart_upload, "s3:PutObject", "arn:aws:s3:::vault/pub/c", "reader", Bucket="vault", Key="pub/c")
    aws = of("reader", "lambda")
    for call, action in ((aws.list_functions, "lambda:ListFunctions"), (aws.get_account_settings, "lambda:GetAccountSettings")):
        denied(call, action, "*", "reader", code="AccessDeniedException")


def a_writer_writes_but_gives_nothing_away():
    s3 = of("writer", "s3")
    s3.put_object(Bucket="attic", Key="drop/a", Body=b"one")
    upload = s3.create_multipart_upload(Bucket="attic", Key="drop/b")["UploadId"]
    part = s3.upload_part(Bucket="attic", Key="drop/b", UploadId=upload, PartNumber=1, Body=b"two")
    s3.complete_multipart_upload(
        Bucket="attic", Key="drop/b", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    equal(root.get_object(Bucket="attic", Key="drop/b")["Body"].read(), b"two")
    denied(s3.get_object, "s3:GetObject", "arn:aws:s3:::attic/drop/a", "writer", Bucket="attic", Key="drop/a")
    denied(s3.put_object, "s3:PutObjectAcl", "arn:aws:s3:::attic/drop/a", "writer", Bucket="attic", Key="drop/a", Body=b"", ACL="public-read")
    denied(s3.put_object, "s3:PutObjectTagging", "arn:aws:s3:::attic/drop/a", "writer", Bucket="attic", Key="drop/a", Body=b"", Tagging="a=b")
    denied(s3.copy_object, "s3:GetObject", "arn:aws:s3:::vault/private/a", "writer", Bucket="attic", Key="drop/c", CopySource="vault/private/a")
    for more, status in (({}, 204), ({"acl": "public-read"}, 403), ({"tagging": "<Tagging><TagSet></TagSet></Tagging>"}, 403)):
        form = s3.generate_presigned_post("attic", "drop/form", Fields=more, Conditions=[{name: text} for name, text in more.items()])
        equal(upload_form(form, b"by form")[0], status, f"a form with {more}")
    told = s3.delete_objects(Bucket="attic", Delete={"Objects": [{"Key": "drop/a"}, {"Key": "pub/a"}, {"Key": "drop/b", "VersionId": "null"}]})
    equal([entry["Key"] for entry in told["Deleted"]], ["drop/a"])
    equal(sorted((entry["Key"], entry["Code"]) for entry in told["Errors"]), [("drop/b", "AccessDenied"), ("pub/a", "AccessDenied")])
    equal(root.get_object(Bucket="attic", Key="pub/a")["Body"].read(), b"text of pub/a")


def upload_form(form, file):
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode() for name, text in form["fields"].items()]
    body = b"".join(parts) + b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + file + b"\r\n--x--\r\n"
    return fetch(urllib.request.Request(form["url"], data=body, headers={"Content-Type": "multipart/form-data; boundary=x"}))


def a_denial_outweighs_every_permission():
    s3, aws = of("most", "s3"), of("most", "lambda")
    holds("vault" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]], "all is allowed")
    s3.put_object(Bucket="vault", Key="most", Body=b"x")
    denied(s3.delete_object, "s3:DeleteObject", "arn:aws:s3:::vault/most", "most", "with an explicit deny in an identity-based policy", Bucket="vault", Key="most")
    equal(aws.get_function(FunctionName="guarded")["Configuration"]["FunctionName"], "guarded")
    denied(
        aws.delete_function, "lambda:DeleteFunction", ARN + "guarded", "most", "with an explicit deny in an identity-based policy",
        code="AccessDeniedException", FunctionName="guarded")


def who_may_invoke_one_function_may_not_do_more():
    aws = of("caller", "lambda")
    equal(json.load(aws.invoke(FunctionName="free", Payload=b'{"a": 1}')["Payload"]), {"a": 1})
    equal(aws.invoke(FunctionName=ARN + "free", InvocationType="DryRun")["StatusCode"], 204)
    equal(aws.invoke(FunctionName="free", InvocationType="Event")["StatusCode"], 202)
    for kind in ("RequestResponse", "Event", "DryRun"):
        denied(aws.invoke, "lambda:InvokeFunction", ARN + "guarded", "caller", code="AccessDeniedException", FunctionName="guarded", InvocationType=kind)
    denied(aws.invoke, "lambda:InvokeFunction", ARN + "free:live", "caller", code="AccessDeniedException", FunctionName="free", Qualifier="live")
    # It is not told either what there is.
    denied(aws.invoke, "lambda:InvokeFunction", ARN + "nothing", "caller", code="AccessDeniedException", FunctionName="nothing")
    equal(aws.get_function_configuration(FunctionName="guarded")["Handler"], "app.handler")
    for call, action, more in (
        (aws.delete_function, "DeleteFunction", {}), (aws.update_function_configuration, "UpdateFunctionConfiguration", {"Timeout": 9}),
        (aws.update_function_code, "UpdateFunctionCode", {"ZipFile": ECHO}), (aws.publish_version, "PublishVersion", {}),
        (aws.create_alias, "CreateAlias", {"Name": "x", "FunctionVersion": "1"}), (aws.list_aliases, "ListAliases", {}),
        (aws.put_function_concurrency, "PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
    ):
        denied(call, f"lambda:{action}", ARN + "free", "caller", code="AccessDeniedException", FunctionName="free", **more)
    denied(
        aws.create_function, "lambda:CreateFunction", ARN + "new", "caller", code="AccessDeniedException", FunctionName="new", Role=ROLE,
        Runtime="python3.11", Handler="app.handler", Code={"ZipFile": ECHO})


def a_buckets_policy_counts_beside_the_keys_own():
    nobody, reader = of("nobody", "s3"), of("reader", "s3")
    denied(nobody.get_object, "s3:GetObject", "arn:aws:s3:::vault/private/a", "nobody", Bucket="vault", Key="private/a")

    def put(*statements):
        root.put_bucket_policy(Bucket="vault", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def statement(effect, principal, action="s3:GetObject"):
        return {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": "arn:aws:s3:::vault/*"}

    put(statement("Allow", USER + "nobody"))
    equal(nobody.get_object(Bucket="vault", Key="private/a")["Body"].read(), b"text of private/a")
    # The whole account means those of it whose own policies allow it too.
    put(statement("Allow", "000000000000"))
    denied(nobody.get_object, "s3:GetObject", "arn:aws:s3:::vault/private/a", "nobody", Bucket="vault", Key="private/a")
    put(statement("Deny", USER + "reader"))
    denied(
        reader.get_object, "s3:GetObject", "arn:aws:s3:::vault/pub/a", "reader", "with an explicit deny in a resource-based policy",
        Bucket="vault", Key="pub/a")
    equal(root.get_object(Bucket="vault", Key="pub/a")["Body"].read(), b"text of pub/a")
    root.delete_bucket_policy(Bucket="vault")
    equal(reader.get_object(Bucket="vault", Key="pub/a")["Body"].read(), b"text of pub/a")


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(what, condition):
    end = time.monotonic() + 60
    while not condition():
        holds(time.monotonic() < end, what)
        time.sleep(0.2)


def a_presigned_address_lets_others_do_what_the_key_may():
    s3 = of("reader", "s3")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "pub/a"}, ExpiresIn=3600)
    equal(fetch(url), (200, "text of pub/a"))
    other = s3.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "private/a"}, ExpiresIn=3600)
    status, told = fetch(other)
    holds(status == 403 and "AccessDenied" in told, told)
    brief = s3.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "pub/a"}, ExpiresIn=1)
    until("a presigned address of a second is good for a minute", lambda: fetch(brief)[0] == 403)
    holds("Request has expired" in fetch(brief)[1], fetch(brief))


def temporary_keys_work_with_their_token_until_they_expire():
    s3 = of("temporary", "s3")
    equal(s3.get_object(Bucket="vault", Key="pub/a")["Body"].read(), b"text of pub/a")
    equal(fetch(s3.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "pub/a"})), (200, "text of pub/a"))
    denied(s3.get_object, "s3:GetObject", "arn:aws:s3:::vault/private/a", "reader", Bucket="vault", Key="private/a")
    denied(of("temporary", "lambda").list_functions, "lambda:ListFunctions", "*", "reader", code="AccessDeniedException")
    whole = KEYS["temporary"]
    for token, code, other in (
        (None, "InvalidAccessKeyId", "UnrecognizedClientException"), ("AAAA", "InvalidToken", "UnrecognizedClientException"),
        (KEYS["brief"]["session_token"], "InvalidToken", "UnrecognizedClientException"),
    ):
        KEYS["broken"] = whole | {"session_token": token}
        refused(of("broken", "s3").get_object, code, Bucket="vault", Key="pub/a")
        refused(of("broken", "lambda").list_functions, other, status=403)

    def is_over():
        try:
            of("brief", "s3").get_object(Bucket="vault", Key="pub/a")
        except ClientError as error:
            equal((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]), ("ExpiredToken", 400))
            return True

    until("a key of a few seconds is good for a minute", is_over)
    refused(of("brief", "lambda").list_functions, "ExpiredTokenException", status=403)


def a_disabled_key_is_unknown():
    refused(of("disabled", "s3").list_buckets, "InvalidAccessKeyId", status=403)
    refused(of("disabled", "lambda").list_functions, "UnrecognizedClientException", "The security token included in the request is invalid.", 403)


main(
    a_reader_reads_what_it_may_and_nothing_else, a_writer_writes_but_gives_nothing_away, a_denial_outweighs_every_permission,
    who_may_invoke_one_function_may_not_do_more, a_buckets_policy_counts_beside_the_keys_own,
    a_presigned_address_lets_others_do_what_the_key_may, temporary_keys_work_with_their_token_until_they_expire,
    a_disabled_key_is_unknown)
