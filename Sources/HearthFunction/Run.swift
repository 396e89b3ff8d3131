@preconcurrency internal import Glibc

// A function in Swift is a program whose `main.swift` calls `run` with its handler:
//
//     import HearthFunction
//
//     struct Event: Decodable { var name: String? }
//
//     run { (event: Event, context) in ["greeting": "Hello, \(event.name ?? "world")!"] }
//
// It is linked statically, is called `bootstrap`, and is deployed with `runtime = "swift"`. What stands before `run` is
// its init. What a handler throws becomes the invocation's error; a crash ends the worker, and the next one is started.

/// Serves invocations with a handler of JSON values, for as long as the server has some.
///
/// An error's type and description become Lambda's `errorType` and `errorMessage`.
public func run<Event: Decodable, Result: Encodable>(_ handler: (Event, Context) throws -> Result) -> Never {
    run(raw: { try encoded(handler(decoded($0), $1)) })
}

/// Serves invocations with a handler of bytes: the event as it came, and the result, which should be JSON.
public func run(raw handler: ([UInt8], Context) throws -> [UInt8]) -> Never {
    var channel = Channel()
    channel.ready()
    while true {
        let (context, event) = channel.next()
        do { channel.answer(.result, try handler(event, context)) } catch { channel.answer(.error, errorObject(error)) }
    }
}

/// Serves invocations with an asynchronous handler of JSON values.
///
/// It runs on the main actor. Between invocations the main actor waits for the next one, as a function on Lambda is frozen
/// then: what a handler leaves behind on the main actor goes on with the next invocation.
@MainActor
public func run<Event: Decodable, Result: Encodable>(_ handler: @MainActor (Event, Context) async throws -> Result) async -> Never {
    await run(raw: { try encoded(await handler(decoded($0), $1)) })
}

/// Serves invocations with an asynchronous handler of bytes, on the main actor.
@MainActor
public func run(raw handler: @MainActor ([UInt8], Context) async throws -> [UInt8]) async -> Never {
    var channel = Channel()
    channel.ready()
    while true {
        let (context, event) = channel.next()
        do { channel.answer(.result, try await handler(event, context)) } catch { channel.answer(.error, errorObject(error)) }
    }
}

/// A failure on the way to the handler or from it; named as Lambda's own clients do.
private struct CodingFailure: Error {
    let errorType: String
    let cause: any Error
}

private func decoded<Event: Decodable>(_ event: [UInt8]) throws(CodingFailure) -> Event {
    do { return try JSON.decode(from: event) } catch { throw CodingFailure(errorType: "Runtime.UnmarshalError", cause: error) }
}

private func encoded(_ result: some Encodable) throws(CodingFailure) -> [UInt8] {
    do { return try JSON.encode(result) } catch { throw CodingFailure(errorType: "Runtime.MarshalError", cause: error) }
}

/// Lambda's error object; also printed, for the log.
func errorObject(_ error: any Error) -> [UInt8] {
    struct Description: Encodable {
        let errorType: String
        let errorMessage: String
        let stackTrace: [String]
    }
    let failure = error as? CodingFailure
    let description = Description(
        errorType: failure?.errorType ?? "\(type(of: error))", errorMessage: JSON.describe(failure?.cause ?? error), stackTrace: [])
    print("[ERROR] \(description.errorType): \(description.errorMessage)")
    // Texts alone can always be encoded.
    return (try? JSON.encode(description)) ?? Array("{}".utf8)
}
