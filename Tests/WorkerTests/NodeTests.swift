import Foundation
import TestSupport
import Testing

/// The bundled Node client on the running server.
@Suite struct NodeTests {
    private static let source = #"""
        const fs = require('node:fs');
        let served = 0;
        const cases = {
          context: (e, c, done) => done(null, {
            keys: Object.keys(c).sort(), names: [c.functionName, c.functionVersion, c.invokedFunctionArn], memory: c.memoryLimitInMB,
            id: c.awsRequestId, left: c.getRemainingTimeInMillis() > 0 && c.getRemainingTimeInMillis() <= 1000,
            client: c.clientContext, log: c.logGroupName, trace: process.env._X_AMZN_TRACE_ID }),
          served: (e, c, done) => done(null, served),
          callback: (e, c, done) => done(null, { called: true }),
          callbackError: (e, c, done) => done(new RangeError('from callback')),
          callbackText: (e, c, done) => done('plain text'),
          callbackTwice: (e, c, done) => { done(null, 1); done(null, 2); },
          callbackNothing: (e, c, done) => done(),
          waits: (e, c, done) => { setTimeout(() => console.log('timer ran'), 50); done(null, 'waited'); },
          waitsNot: (e, c, done) => {
            c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => console.log('timer ran'), 50); done(null, 'at once');
          },
          succeed: (e, c) => { setTimeout(() => c.succeed('succeeded'), 10); },
          fail: (e, c) => { setTimeout(() => c.fail(new Error('failed')), 10); },
          done: (e, c) => { c.done(null, 'done'); },
          value: () => ({ ignored: true }),
          promise: async () => ({ promised: true }),
          rejects: async () => { throw new TypeError('rejected'); },
          rejectsText: () => Promise.reject('text'),
          rejectsNothing: () => Promise.reject(),
          throws: () => { throw new SyntaxError('thrown'); },
          throwsNull: () => { throw null; },
          throwsObject: () => { throw { code: 5 }; },
          never: () => new Promise(() => {}),
          hangs: () => new Promise(() => setInterval(() => {}, 1000)),
          timerThrows: () => new Promise(() => setTimeout(() => { throw new Error('in a timer'); }, 5)),
          unhandled: () => { Promise.reject(new Error('nobody listens')); return new Promise((resolve) => setTimeout(resolve, 500)); },
          leavesRejection: async () => { Promise.reject(new Error('left behind')); return 'answered'; },
          exits: (e) => process.exit(e.code),
          circular: async () => { const a = {}; a.a = a; return a; },
          bigint: async () => ({ a: 1n }),
          text: async () => 'é \ud800 😀',
          numbers: async () => [NaN, Infinity, 1.5],
          big: async (e) => 'x'.repeat(e.bytes),
          length: async (e) => e.text.length,
          note: async () => { fs.appendFileSync('/tmp/note', 'x'); return [served, fs.statSync('/tmp/note').size]; },
          speaks: async () => {
            console.log('one %d', 1, { a: 1 }); console.info('two'); console.debug('three'); console.warn('four'); console.error('five');
            console.trace('six'); console.log('two\nlines'); process.stdout.write('raw\n'); process.stderr.write('raw error\n');
          },
        };
        exports.handler = (event, context, callback) => { served += 1; return cases[event.do](event, context, callback); };
        """#

    private static func server(_ manifest: String = "timeout = 1\n[concurrency]\nprovisioned = 1\n") throws -> HearthProcess {
        try HearthProcess(functions: [.node("f", source, manifest: manifest)])
    }

    @Test func everyWayToAnswerReachesItsOwnInvocation() throws {
        let server = try Self.server()
        let context = Data(#"{"custom":{"a":1}}"#.utf8).base64EncodedString()
        let about = try server.invoke("f", #"{"do":"context"}"#, headers: [("X-Amz-Client-Context", context), ("X-Amzn-Trace-Id", "Root=1-a")])
        let keys = [
            "awsRequestId", "callbackWaitsForEmptyEventLoop", "clientContext", "done", "fail", "functionName", "functionVersion",
            "getRemainingTimeInMillis", "identity", "invokedFunctionArn", "logGroupName", "logStreamName", "memoryLimitInMB", "succeed",
        ]
        #expect(about.object["keys"] as? [String] == keys, "\(about)")
        #expect(about.object["names"] as? [String] == ["f", "$LATEST", "arn:aws:lambda:us-east-1:000000000000:function:f"], "\(about)")
        #expect(about.object["left"] as? Bool == true && about.object["memory"] as? String == "128" && about.object["trace"] as? String == "Root=1-a")
        #expect(about.object["id"] as? String == about["x-amzn-RequestId"] && about.text.contains(#""client":{"custom":{"a":1}}"#), "\(about)")

        let next = try server.invoke("f", #"{"do":"context"}"#)
        #expect(next.object["names"] != nil && next.object["trace"] == nil, "the trace id of the invocation before: \(next)")

        // Twice and interleaved with a counter: no leftover of one invocation may answer another.
        var served = 2
        for (name, wanted) in Array(
            repeating: [
                ("callback", #"{"called":true}"#), ("callbackTwice", "1"), ("callbackNothing", "null"), ("waits", #""waited""#),
                ("waitsNot", #""at once""#), ("succeed", #""succeeded""#), ("done", #""done""#), ("value", "null"),
                ("promise", #"{"promised":true}"#), ("never", "null"), ("text", #""é \ud800 😀""#), ("numbers", "[null,null,1.5]"),
            ], count: 2
        ).joined() {
            let answer = try server.invoke("f", #"{"do":"\#(name)"}"#)
            #expect(answer.text == wanted && answer["X-Amz-Function-Error"] == nil, "\(name): \(answer)")
            served += 2
            #expect(try server.invoke("f", #"{"do":"served"}"#).text == "\(served)", "after \(name)")
        }
        #expect(try server.metric("hearth_errors_total") == 0)
        #expect(try server.invoke("f", #"{"do":"note"}"#).text == "[\(served + 1),1]")
        #expect(try server.invoke("f", #"{"do":"note"}"#).text == "[\(served + 2),2]")
    }

    @Test func errorsComeBackInLambdasWordsAndOnlyUncaughtOnesEndTheProcess() throws {
        let server = try Self.server()
        let handled = "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack"
        for (name, type, message, hasTrace) in [
            ("callbackError", "RangeError", "from callback", true), ("callbackText", "string", "plain text", false),
            ("fail", "Error", "failed", true), ("rejects", "TypeError", "rejected", true), ("rejectsText", "string", "text", false),
            ("rejectsNothing", "handled", handled, false), ("throws", "SyntaxError", "thrown", true), ("throwsNull", "handled", handled, false),
            ("throwsObject", "object", "[object Object]", false), ("circular", "Runtime.MarshalError", "Unable to stringify response body: ", true),
            ("bigint", "Runtime.MarshalError", "Unable to stringify response body: Do not know how to serialize a BigInt", true),
        ] {
            let (answer, log) = try server.invokeWithLog("f", #"{"do":"\#(name)"}"#)
            let trace = answer.object["trace"] as? [String]
            #expect(answer.status == 200 && answer["X-Amz-Function-Error"] == "Unhandled", "\(name): \(answer)")
            #expect(
                answer.object["errorType"] as? String == type && (answer.object["errorMessage"] as? String ?? "").hasPrefix(message)
                    && trace?.isEmpty == !hasTrace, "\(name): \(answer)")
            #expect(log.contains("\tERROR\tInvoke Error \t{\"errorType\":\"\(type)\""), "\(name): \(log)")
        }
        #expect(try server.invoke("f", #"{"do":"served"}"#).text == "12", "all in one worker")

        for (name, type, message) in [
            ("timerThrows", "Error", "in a timer"), ("unhandled", "Runtime.UnhandledPromiseRejection", "Error: nobody listens"),
            ("leavesRejection", "Runtime.UnhandledPromiseRejection", "Error: left behind"),
        ] {
            let (answer, log) = try server.invokeWithLog("f", #"{"do":"\#(name)"}"#)
            #expect(answer.object["errorType"] as? String == type && answer.object["errorMessage"] as? String == message, "\(name): \(answer)")
            #expect(log.contains("Uncaught Exception"), "\(log)")
            #expect(try server.invoke("f", #"{"do":"served"}"#).text == "1", "a new worker after \(name)")
        }
        for (code, words) in [(0, "Runtime exited without providing a reason"), (4, "Runtime exited with error: exit status 4")] {
            let answer = try server.invoke("f", #"{"do":"exits","code":\#(code)}"#)
            #expect(answer.object["errorType"] as? String == "Runtime.ExitError" && (answer.object["errorMessage"] as? String ?? "").hasSuffix(words), "\(answer)")
        }
        let late = try server.invoke("f", #"{"do":"hangs"}"#)
        #expect(late.object["errorType"] as? String == "Sandbox.Timedout", "\(late)")
    }

    @Test func consoleWritesLambdasLinesAndBigAnswersGoThrough() throws {
        let server = try Self.server("timeout = 30\n[concurrency]\nprovisioned = 1\n")
        let (answer, log) = try server.invokeWithLog("f", #"{"do":"speaks"}"#)
        let id = answer["x-amzn-RequestId"] ?? ""
        let lines = log.components(separatedBy: "\n").dropFirst()
        let said = lines.prefix { !$0.hasPrefix("END") }
        let expected = [
            "\tINFO\tone 1 { a: 1 }", "\tINFO\ttwo", "\tDEBUG\tthree", "\tWARN\tfour", "\tERROR\tfive", "\tTRACE\tsix", "\tINFO\ttwo", "lines",
            "raw", "raw error",
        ]
        #expect(said.count == expected.count && zip(said, expected).allSatisfy { $0.hasSuffix($1) }, "\(log)")
        #expect(said.prefix(7).allSatisfy { $0.contains(#/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t/#) && $0.contains(id) }, "\(log)")
        let limit = 6_291_556
        #expect(try server.invoke("f", #"{"do":"big","bytes":\#(limit - 2)}"#).body.count == limit)
        #expect(try server.invoke("f", #"{"do":"big","bytes":\#(limit - 1)}"#).object["errorType"] as? String == "Function.ResponseSizeTooLarge")
        let event = #"{"do":"length","text":"\#(String(repeating: "é", count: 3_000_000))"}"#
        #expect(try server.invoke("f", event).text == "3000000")
    }

    @Test func modulesOfBothKindsLoadAndWhatCannotLoadFailsTheDeploy() throws {
        let server = try HearthProcess()
        let manifest = "runtime = \"nodejs20.x\"\nhandler = \"index.handler\"\n"
        let module = "export const handler = async (event) => { if (event.fail) throw new Error('esm'); return 'esm'; };"
        for (name, files) in [
            ("mjs", ["index.mjs": "await Promise.resolve();\n" + module]), ("typed", ["index.js": module, "package.json": #"{"type":"module"}"#]),
            ("cjs", ["index.cjs": "exports.handler = async () => 'esm';"]),
        ] {
            try server.deploy(TestFunction(name, files: files.merging(["function.toml": manifest]) { own, _ in own }))
            #expect(try server.invoke(name).text == #""esm""#, "\(name)")
        }
        #expect(try server.invoke("mjs", #"{"fail":1}"#).object["errorMessage"] as? String == "esm")
        let good = "exports.handler = async () => 'good';"
        for (name, source, words) in [
            ("syntax", "exports.handler = async () => {", ["Runtime.UserCodeSyntaxError", "Unexpected end of input", "index.js:1"]),
            ("missing", "require('nosuch');" + good, ["Runtime.ImportModuleError", "Cannot find module 'nosuch'"]),
            ("nohandler", "exports.other = 1;", ["Runtime.HandlerNotFound", "index.handler is undefined or not exported"]),
            ("number", "exports.handler = 5;", ["Runtime.HandlerNotFound", "index.handler is not a function"]),
            ("throws", "throw new TypeError('at import');", ["TypeError", "at import"]),
            ("throwstext", "throw 'only text';", ["only text"]),
            ("exits", "process.exit(3);", ["Runtime.ExitError", "exit status 3"]),
            ("soon", "setImmediate(() => { throw new Error('soon after'); });" + good, ["soon after"]),
            ("soonrejects", "Promise.reject(new Error('soon rejected'));" + good, ["Runtime.UnhandledPromiseRejection", "soon rejected"]),
        ] {
            let result = try server.deployment(.node(name, source))
            #expect(result.code == 1 && words.allSatisfy { result.err.contains($0) }, "\(name): \(result)")
        }
    }
}
