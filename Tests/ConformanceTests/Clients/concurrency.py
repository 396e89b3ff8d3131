"""Reserved and provisioned concurrency."""

import json
import threading
import time

from common import *

aws = client()
SLOW = package(app_py="import time\ndef handler(event, context):\n    time.sleep(event.get('seconds', 0))\n    return 'done'\n")


def status(name, qualifier):
    return aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def await_status(name, qualifier, wanted):
    end = time.monotonic() + 30
    while True:
        now = status(name, qualifier)
        if now["Status"] == wanted:
            return now
        holds(time.monotonic() < end, f"{name}:{qualifier} stays {now}")
        time.sleep(0.02)


def reserved():
    create(aws, "reserved", SLOW, Timeout=20)
    equal(without_metadata(aws.get_function_concurrency(FunctionName="reserved")), {})
    equal(without_metadata(aws.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=0)), {"ReservedConcurrentExecutions": 0})
    answer = refused(aws.invoke, "TooManyRequestsException", "Rate Exceeded.", 429, FunctionName="reserved")
    equal((answer["Reason"], answer["Type"]), ("ReservedFunctionConcurrentInvocationLimitExceeded", "User"))
    holds("retry-after" in answer["ResponseMetadata"]["HTTPHeaders"], "told when to come again")
    aws.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=1)
    equal(aws.get_function_concurrency(FunctionName="reserved")["ReservedConcurrentExecutions"], 1)
    equal(aws.get_function(FunctionName="reserved")["Concurrency"], {"ReservedConcurrentExecutions": 1})
    first = []

    def hold():
        # Refused as long as the other one is inside.
        while not first:
            try:
                first.append(client().invoke(FunctionName="reserved", Payload=b'{"seconds": 2}'))
            except aws.exceptions.TooManyRequestsException:
                time.sleep(0.01)

    thread = threading.Thread(target=hold)
    thread.start()
    end = time.monotonic() + 30
    refusals = 0
    while not first:
        # Once the holder is inside, every other call is refused.
        try:
            aws.invoke(FunctionName="reserved")
            time.sleep(0.02)
        except aws.exceptions.TooManyRequestsException as error:
            equal(error.response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
            refusals += 1
            time.sleep(0.05)
        holds(time.monotonic() < end, "the holder never came out")
    thread.join()
    holds(refusals > 0, "nobody was refused")
    equal(json.load(first[0]["Payload"]), "done", "the one that was inside is not hurt")
    equal(aws.delete_function_concurrency(FunctionName="reserved")["ResponseMetadata"]["HTTPStatusCode"], 204)
    equal(without_metadata(aws.get_function_concurrency(FunctionName="reserved")), {})
    equal(json.load(aws.invoke(FunctionName="reserved")["Payload"]), "done")
    missing = f"Function not found: {ARN}doesnotexist"
    loose = client(validate=False)
    for number in [1, -1]:
        refused(loose.put_function_concurrency, "ResourceNotFoundException", missing + ":$LATEST", 404, FunctionName="doesnotexist", ReservedConcurrentExecutions=number)
    refused(aws.get_function_concurrency, "ResourceNotFoundException", missing, 404, FunctionName="doesnotexist")
    refused(aws.put_function_concurrency, "InvalidParameterValueException", "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation.", 400,
            FunctionName=ARN + "reserved:1", ReservedConcurrentExecutions=1)
    refused(aws.put_function_concurrency, "InvalidParameterValueException",
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [", 400,
            FunctionName="reserved", ReservedConcurrentExecutions=5000)


def reserved_beside_provisioned():
    """What is provisioned for one version is taken out of what the function has reserved: the other runs in the rest."""
    create(aws, "beside", SLOW, Timeout=20, Publish=True)
    aws.update_function_configuration(FunctionName="beside", Description="two")
    aws.publish_version(FunctionName="beside")
    aws.put_function_concurrency(FunctionName="beside", ReservedConcurrentExecutions=2)
    aws.put_provisioned_concurrency_config(FunctionName="beside", Qualifier="1", ProvisionedConcurrentExecutions=1)
    await_status("beside", "1", "READY")
    ended = []

    def hold():
        # Refused as long as the other one is inside.
        while not ended:
            try:
                ended.append(client().invoke(FunctionName="beside", Qualifier="2", Payload=b'{"seconds": 4}'))
            except aws.exceptions.TooManyRequestsException:
                time.sleep(0.01)

    thread = threading.Thread(target=hold)
    thread.start()
    refusals = 0
    while not ended and not refusals:
        time.sleep(0.05)
        try:
            aws.invoke(FunctionName="beside", Qualifier="2")
        except aws.exceptions.TooManyRequestsException as error:
            equal(error.response["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
            refusals += 1
    holds(refusals, "two of version 2 ran at once, where one is left")
    equal(json.load(aws.invoke(FunctionName="beside", Qualifier="1")["Payload"]), "done", "the provisioned one is there all the same")
    holds(not ended, "the first was still inside")
    thread.join()
    aws.delete_function(FunctionName="beside")


def provisioned():
    create(aws, "provisioned", SLOW, Publish=True)
    aws.create_alias(FunctionName="provisioned", Name="live", FunctionVersion="1")
    fields = {"RequestedProvisionedConcurrentExecutions", "AvailableProvisionedConcurrentExecutions", "AllocatedProvisionedConcurrentExecutions", "Status", "LastModified"}
    refused(aws.get_provisioned_concurrency_config, "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function", 404,
            FunctionName="provisioned", Qualifier="1")
    put = aws.put_provisioned_concurrency_config(FunctionName="provisioned", Qualifier="1", ProvisionedConcurrentExecutions=2)
    equal((put["ResponseMetadata"]["HTTPStatusCode"], set(without_metadata(put))), (202, fields))
    equal((put["Status"], put["RequestedProvisionedConcurrentExecutions"], put["AvailableProvisionedConcurrentExecutions"]), ("IN_PROGRESS", 2, 0))
    ready = await_status("provisioned", "1", "READY")
    equal(set(without_metadata(ready)), fields)
    equal((ready["RequestedProvisionedConcurrentExecutions"], ready["AllocatedProvisionedConcurrentExecutions"], ready["AvailableProvisionedConcurrentExecutions"]), (2, 2, 2))
    listed = aws.list_provisioned_concurrency_configs(FunctionName="provisioned")["ProvisionedConcurrencyConfigs"]
    equal([(one["FunctionArn"], one["Status"]) for one in listed], [(ARN + "provisioned:1", "READY")])
    warm = aws.invoke(FunctionName="provisioned", Qualifier="1")
    equal(warm["ResponseMetadata"]["HTTPHeaders"]["x-hearth-start"], "provisioned")
    refused(aws.put_provisioned_concurrency_config, "ResourceConflictException",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version", 409,
            FunctionName="provisioned", Qualifier="live", ProvisionedConcurrentExecutions=1)
    equal(aws.delete_provisioned_concurrency_config(FunctionName="provisioned", Qualifier="1")["ResponseMetadata"]["HTTPStatusCode"], 204)
    aws.delete_provisioned_concurrency_config(FunctionName="provisioned", Qualifier="1")
    aws.put_provisioned_concurrency_config(FunctionName="provisioned", Qualifier="live", ProvisionedConcurrentExecutions=1)
    await_status("provisioned", "live", "READY")
    refused(aws.put_provisioned_concurrency_config, "ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias", 409,
            FunctionName="provisioned", Qualifier="1", ProvisionedConcurrentExecutions=1)
    refused(aws.put_function_concurrency, "InvalidParameterValueException",
            " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1].", 400,
            FunctionName="provisioned", ReservedConcurrentExecutions=0)
    aws.delete_alias(FunctionName="provisioned", Name="live")
    refused(aws.get_provisioned_concurrency_config, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}provisioned:live", 404, FunctionName="provisioned", Qualifier="live")
    equal(aws.list_provisioned_concurrency_configs(FunctionName="provisioned")["ProvisionedConcurrencyConfigs"], [])


def provisioned_is_refused_in_lambdas_words():
    loose = client(validate=False)
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    neither = "The function resource provided must be an alias or a published version."
    put, get = loose.put_provisioned_concurrency_config, loose.get_provisioned_concurrency_config
    delete = loose.delete_provisioned_concurrency_config
    one = {"ProvisionedConcurrentExecutions": 1}
    cases = [
        (put, "provisioned", "1", {"ProvisionedConcurrentExecutions": 0}, "ValidationException",
         "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1"),
        (put, "provisioned", "$LATEST", one, "InvalidParameterValueException", unpublished), (get, "provisioned", "$LATEST", {}, "InvalidParameterValueException", neither),
        (delete, "provisioned", "$LATEST", {}, "InvalidParameterValueException", neither),
    ]
    for call, more in [(put, one), (get, {}), (delete, {})]:
        cases += [
            (call, "doesnotexist", "noalias", more, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}doesnotexist:noalias"),
            (call, "doesnotexist", "1", more, "ResourceNotFoundException", f"Function not found: {ARN}doesnotexist:1"),
            (call, "provisioned", "noalias", more, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}provisioned:noalias"),
            (call, "provisioned", "10", more, "ResourceNotFoundException", f"Function not found: {ARN}provisioned:10"),
        ]
    for call, name, qualifier, more, code, message in cases:
        answer = refused(call, code, message, FunctionName=name, Qualifier=qualifier, **more)
        equal(answer["Error"]["Message"], message)
    refused(aws.list_provisioned_concurrency_configs, "ResourceNotFoundException", f"Function not found: {ARN}doesnotexist", 404, FunctionName="doesnotexist")


def workers_that_cannot_start_fail_the_configuration():
    create(aws, "unprovisionable", package(app_py="raise RuntimeError('not today')\n"), Publish=True)
    aws.put_provisioned_concurrency_config(FunctionName="unprovisionable", Qualifier="1", ProvisionedConcurrentExecutions=1)
    failed = await_status("unprovisionable", "1", "FAILED")
    holds(failed["StatusReason"].startswith("FUNCTION_ERROR_INIT_FAILURE"), failed)
    equal((failed["AvailableProvisionedConcurrentExecutions"], failed["AllocatedProvisionedConcurrentExecutions"]), (0, 0))
    aws.delete_function(FunctionName="unprovisionable")


main(reserved, reserved_beside_provisioned, provisioned, provisioned_is_refused_in_lambdas_words,
     workers_that_cannot_start_fail_the_configuration)
