internal import AsyncInvoke
internal import Catalog

/// How asynchronous invocations are treated: retries, age, destinations, dead letters.
extension LambdaControl {
    /// PutFunctionEventInvokeConfig replaces, UpdateFunctionEventInvokeConfig (`merges`) changes what is given.
    func putEventInvoke(_ request: ControlRequest, _ reference: FunctionReference, merges: Bool) throws -> ControlAnswer {
        let document = try decode(EventInvokeDocument.self, request, .eventInvoke)
        guard let function = catalog.snapshot.function(named: reference.name),
            function.resolve(qualifier: reference.qualifier) != nil
        else {
            throw LambdaFault.notFound("The function doesn't exist.")
        }
        let qualifier = reference.qualifier ?? "$LATEST"
        let before = function.eventInvoke[qualifier]
        if merges, before == nil { throw CatalogError.eventInvokeNotFound(function: reference.name, qualifier: qualifier) }
        guard document.MaximumRetryAttempts != nil || document.MaximumEventAgeInSeconds != nil || document.DestinationConfig != nil else {
            throw LambdaFault.invalidParameter("You must specify at least one of error handling or destination setting.")
        }
        var settings = merges ? before ?? EventInvokeSettings() : EventInvokeSettings()
        if let retries = document.MaximumRetryAttempts { settings.retries = retries }
        if let age = document.MaximumEventAgeInSeconds { settings.ageMax = age }
        if let config = document.DestinationConfig {
            if !merges || config.OnSuccess != nil { settings.onSuccess = try destination(config.OnSuccess, function) }
            if !merges || config.OnFailure != nil { settings.onFailure = try destination(config.OnFailure, function) }
        }
        settings.modified = request.epochMilliseconds
        try catalog.setEventInvoke(settings, of: function.name, qualifier: qualifier)
        return try answer(200, described(settings, function.name, qualifier))
    }

    /// An ARN that this node can deliver to; an empty one is none.
    private func destination(_ document: DestinationDocument?, _ function: FunctionEntry) throws(LambdaFault) -> String? {
        guard let text = document?.Destination, !text.isEmpty else { return nil }
        switch Destination(arn: text) {
        case .function(let name, _):
            guard name != function.name else {
                throw .invalidParameter("You can't specify the function as a destination for itself.")
            }
            guard catalog.snapshot.function(named: name) != nil else { throw .invalidParameter("The destination ARN \(text) is invalid.") }
        case .bucket, .log: break
        case nil:
            throw .invalidParameter(
                "The destination ARN \(text) is invalid: Hearth delivers to functions, buckets (arn:aws:s3:::BUCKET) and logs (arn:aws:logs:…).")
        }
        return text
    }

    /// The ARN of a dead letter's target; functions only.
    func deadLetter(_ document: DeadLetterDocument) throws(LambdaFault) -> String? {
        guard let text = document.TargetArn, !text.isEmpty else { return nil }
        guard case .function? = Destination(arn: text) else {
            throw .invalidParameter("The target ARN \(text) is invalid: Hearth sends dead letters to functions; destinations reach buckets and logs.")
        }
        return text
    }

    private func described(_ settings: EventInvokeSettings, _ name: String, _ qualifier: String) -> EventInvokeConfiguration {
        EventInvokeConfiguration(
            LastModified: Double(settings.modified) / 1000, FunctionArn: arn(name, qualifier), MaximumRetryAttempts: settings.retries,
            MaximumEventAgeInSeconds: settings.ageMax,
            DestinationConfig: DestinationConfigDocument(
                OnSuccess: DestinationDocument(Destination: settings.onSuccess),
                OnFailure: DestinationDocument(Destination: settings.onFailure)))
    }

    func getEventInvoke(_ reference: FunctionReference) throws -> ControlAnswer {
        let qualifier = reference.qualifier ?? "$LATEST"
        guard let settings = catalog.snapshot.function(named: reference.name)?.eventInvoke[qualifier] else {
            throw CatalogError.eventInvokeNotFound(function: reference.name, qualifier: qualifier)
        }
        return try answer(200, described(settings, reference.name, qualifier))
    }

    func deleteEventInvoke(_ reference: FunctionReference) throws -> ControlAnswer {
        let qualifier = reference.qualifier ?? "$LATEST"
        guard catalog.snapshot.function(named: reference.name) != nil else {
            throw CatalogError.eventInvokeNotFound(function: reference.name, qualifier: qualifier)
        }
        try catalog.setEventInvoke(nil, of: reference.name, qualifier: qualifier)
        return .empty(204)
    }

    func listEventInvoke(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        guard let function = catalog.snapshot.function(named: reference.name) else {
            throw LambdaFault.notFound("The function doesn't exist.")
        }
        let all = function.eventInvoke.map { described($0.value, function.name, $0.key) }
        let (page, next) = try page(all, request, key: \.FunctionArn)
        return try answer(200, EventInvokeList(FunctionEventInvokeConfigs: page, NextMarker: next))
    }
}
