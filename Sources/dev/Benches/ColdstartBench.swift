import Foundation

/// What the first invocation of a function without a worker waits for, and what a forked worker weighs.
///
/// All starts of one comparison take turns in one run, in servers that are alive together. A start is made cold by
/// killing the function's workers; its zygote stays.
struct ColdstartBench: Bench {
    let name = "coldstart"
    let purpose = "cold starts by fork and by exec, what the sandbox adds, memory of a forked worker, bursts"
    private let starts = 100
    /// A wait for a quiet machine must not cost the connections.
    private let patient = "[limits]\nhead_timeout = 3600\nkeep_alive = 3600\n"

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let directory = try setting.makeDirectory("functions")
        let hasBoto3 = try Child.run(["python3", "-s", "-c", "import boto3"], log: "/dev/null") == 0
        let hasCompiler = try addBootstrap(setting, in: directory)
        let hasSwift = try addSwift(in: directory)
        let hasNode = try addNode(in: directory)
        try addPython(setting, in: directory, hasBoto3: hasBoto3)
        let server = try HearthServer(setting, functions: directory, configuration: patient)
        defer { server.child.stop() }
        let open = try HearthServer(setting, functions: directory, configuration: patient + "[sandbox]\nisolation = \"off\"")
        defer { open.child.stop() }
        var figures = try standardLibrary(setting, server, open)
        if hasBoto3 { figures += try boto3(setting, server) } else {
            note("  skipped: import boto3 (it is not importable; apt-get install python3-boto3, or pip install boto3)")
        }
        figures += try memory(server)
        figures += try burst(setting, server)
        if hasCompiler {
            figures += try program(setting, server, "bootstrap in C", "compiled", byHand: ["\(directory)/compiled/bootstrap"])
        } else {
            note("  skipped: a bootstrap in C (there is no cc; apt-get install gcc libc6-dev)")
        }
        if hasSwift {
            figures += try program(setting, server, "function in Swift", "swift", byHand: ["\(directory)/swift/bootstrap"])
        } else {
            note("  skipped: a function in Swift (functions/primes cannot be built here)")
        }
        if hasNode {
            figures += try program(setting, server, "Node", "node", byHand: ["node", "-e", "0"], atMost: nil)
        } else {
            note("  skipped: Node (there is no node; apt-get install nodejs)")
        }
        return try figures + stalls(setting, directory)
    }

    // MARK: Starts

    private func standardLibrary(_ setting: BenchSetting, _ server: HearthServer, _ open: HearthServer) throws -> [Figure] {
        let fork = try ColdFunction(server, "light", expects: "fork")
        let exec = try ColdFunction(server, "light-threaded", expects: "exec")
        let bare = try ColdFunction(open, "light", expects: "fork")
        try takeTurns(setting, [fork, exec, bare])
        return compare("standard library", fork, exec, atMost: 5, ratio: 1 / 8) + [
            Figure(
                name: "coldstart: what the sandbox adds to a fork, p50", unit: "ms", hearth: fork.times.p50 - bare.times.p50,
                goal: .atMost(2)),
            Figure(name: "coldstart: without sandbox, fork p50", unit: "ms", hearth: bare.times.p50, goal: .none),
        ]
    }

    private func boto3(_ setting: BenchSetting, _ server: HearthServer) throws -> [Figure] {
        let fork = try ColdFunction(server, "boto3", expects: "fork")
        let exec = try ColdFunction(server, "boto3-threaded", expects: "exec")
        try takeTurns(setting, [fork, exec])
        return compare("boto3 with a client", fork, exec, atMost: 8, ratio: 1 / 25)
    }

    private func takeTurns(_ setting: BenchSetting, _ functions: [ColdFunction]) throws {
        setting.waitForQuiet()
        // There and back: none always follows the same other.
        for round in 0..<starts {
            for function in round % 2 == 0 ? functions : functions.reversed() { try function.start() }
        }
        for function in functions { try function.conclude() }
    }

    private func compare(
        _ what: String, _ fork: ColdFunction, _ exec: ColdFunction, atMost bound: Double, ratio: Double
    ) -> [Figure] {
        func figure(_ name: String, _ value: Double, _ peer: Double, _ goal: Figure.Goal) -> Figure {
            Figure(name: "coldstart: \(what), fork \(name)", unit: "ms", hearth: value, peer: ("exec", peer), goal: goal)
        }
        return [
            figure("p50", fork.times.p50, exec.times.p50, .atMost(bound)),
            figure("p50", fork.times.p50, exec.times.p50, .atMostTimes(ratio)),
            figure("p99", fork.times.p99, exec.times.p99, .none),
        ]
    }

    /// A program, beside its own start and end by hand.
    ///
    /// - Parameter bound: milliseconds that Hearth may add.
    private func program(
        _ setting: BenchSetting, _ server: HearthServer, _ what: String, _ name: String, byHand command: [String],
        atMost bound: Double? = 5
    ) throws -> [Figure] {
        let cold = try ColdFunction(server, name, query: "?n=60", expects: "exec")
        var byHand: [Double] = []
        setting.waitForQuiet()
        for _ in 0..<starts {
            try cold.start()
            let began = LoadClient.now
            // Without a server it ends at once.
            _ = try Child.run(command, log: "/dev/null")
            byHand.append(Double(LoadClient.now - began) / 1e6)
        }
        try cold.conclude()
        let peer = ("by hand", byHand.p50)
        return [
            Figure(
                name: "coldstart: \(what), p50", unit: "ms", hearth: cold.times.p50, peer: peer,
                goal: bound.map { .atMost($0 + byHand.p50) } ?? .none),
            Figure(
                name: "coldstart: \(what), p99", unit: "ms", hearth: cold.times.p99, peer: ("by hand", byHand.p99),
                goal: .none),
        ]
    }

    // MARK: Memory

    private func memory(_ server: HearthServer) throws -> [Figure] {
        let function = try ColdFunction(server, "provisioned", expects: "provisioned")
        guard let worker = function.workers.first else { throw Failure("the provisioned function has no worker") }
        let unused = MemoryUse(of: [worker])
        for _ in 0..<20_000 { try function.invoke() }
        try function.invoke("collect")
        guard function.workers == [worker] else { throw Failure("the provisioned function has lost its worker") }
        let used = MemoryUse(of: [worker])
        func figure(_ name: String, _ value: Double, _ goal: Figure.Goal) -> Figure {
            Figure(name: "coldstart: \(name)", unit: "MB", hearth: value, goal: goal)
        }
        return [
            figure("private memory of an unused worker", unused.privateMB, .atMost(1.5)),
            figure("PSS of an unused worker", unused.proportionalMB, .none),
            figure("private memory after 20,000 invocations", used.privateMB, .atMost(3)),
            figure("PSS after 20,000 invocations", used.proportionalMB, .none),
        ]
    }

    // MARK: Bursts

    private func burst(_ setting: BenchSetting, _ server: HearthServer) throws -> [Figure] {
        let (size, sleep, rounds) = (50, 50.0, 20)
        let function = try ColdFunction(server, "sleeper", expects: "fork")
        let connections = try (0..<size).map { _ in try TimedConnection(port: server.ports.front) }
        var slowest: [Double] = []
        var forkRates: [Double] = []
        var others = 0
        setting.waitForQuiet()
        for _ in 0..<rounds {
            try function.endWorkers()
            let began = LoadClient.now
            for connection in connections { try connection.send(function.path) }
            let answers = try connections.map { try $0.receive(function.path) }
            let all = Double(LoadClient.now - began) / 1e6
            let forks = answers.count { $0.start == "fork" && $0.status == 200 }
            others += size - forks
            slowest.append(all)
            forkRates.append(Double(forks) / max(0.1, all - sleep) * 1000)
        }
        note("  bursts of \(size): slowest answer \(slowest.map { number($0) }.joined(separator: " ")) ms; \(others) not by fork")
        return [
            Figure(
                name: "coldstart: burst of \(size) × \(number(sleep)) ms, last answer", unit: "ms", hearth: slowest.p50,
                goal: .atMost(3 * sleep)),
            Figure(name: "coldstart: burst, worst of \(rounds)", unit: "ms", hearth: slowest.p100, goal: .none),
            Figure(name: "coldstart: burst, forks per second", unit: "/s", hearth: forkRates.p50, goal: .none),
        ]
    }

    // MARK: Stalls

    /// How long an unrelated request waits while a server that holds much memory starts a worker.
    private func stalls(_ setting: BenchSetting, _ directory: String) throws -> [Figure] {
        let server = try HearthServer(
            setting, functions: directory, configuration: patient + "[logs]\nbytes_per_function = 600000000")
        defer { server.child.stop() }
        // Its log is the memory: 500 MiB of it.
        try ColdFunction(server, "chatty", expects: "fork").invoke()
        note("  the server holds \(number(ProcessTree.residentMiB(of: server.child.pid))) MiB")
        let fork = try ColdFunction(server, "light", expects: "fork")
        let exec = try ColdFunction(server, "light-threaded", expects: "exec")
        let probe = try TimedConnection(port: server.ports.api)
        var waits: [String: [Double]] = [:]
        setting.waitForQuiet()
        for _ in 0..<starts / 2 {
            for function in [fork, exec] {
                try function.beginStart()
                waits[function.expected, default: []].append(try longestWait(probe) { function.isAnswered })
                try function.endStart()
            }
            // As long as a start by exec takes, more or less.
            let end = LoadClient.now + 50_000_000
            waits["no start", default: []].append(try longestWait(probe) { LoadClient.now > end })
        }
        func figure(_ kind: String, _ name: String, _ goal: Figure.Goal, _ value: ([Double]) -> Double) -> Figure {
            Figure(
                name: "coldstart: longest wait of a probe during a start by \(kind), \(name)", unit: "ms",
                hearth: value(waits[kind] ?? []), peer: ("no start", value(waits["no start"] ?? [])), goal: goal)
        }
        return ["fork", "exec"].flatMap { kind in
            [figure(kind, "p50", .atMost(1), \.p50), figure(kind, "max", .none, \.p100)]
        }
    }

    /// Asks for the server's health every millisecond until `isDone`; the longest time that it took, in milliseconds.
    private func longestWait(_ probe: TimedConnection, _ isDone: () -> Bool) throws -> Double {
        var longest = 0.0
        repeat {
            longest = max(longest, try probe.ask("/_hearth/healthz").milliseconds)
            usleep(1000)
        } while !isDone()
        return longest
    }
}

// MARK: Functions

extension ColdstartBench {
    private static let light = """
        import base64, datetime, hashlib, json, logging, os, re, urllib.parse, uuid


        def handler(event, context):
            return 1
        """

    private static let boto3 = """
        import boto3

        client = boto3.client("s3")


        def handler(event, context):
            return 1
        """

    /// A thread that its init leaves keeps a function from being forked.
    private static let thread = """
        import threading

        threading.Thread(target=threading.Event().wait, daemon=True).start()

        """

    private static let provisioned = """
        import gc
        import base64, datetime, hashlib, json, logging, os, re, urllib.parse, uuid


        def handler(event, context):
            if event["rawPath"] == "/collect":
                gc.collect()
            return 1
        """

    private static let sleeper = """
        import time


        def handler(event, context):
            time.sleep(0.05)
            return 1
        """

    private static let chatty = """
        def handler(event, context):
            for _ in range(500):
                print("x" * (1024 * 1024 - 1))
            return 1
        """

    private func addPython(_ setting: BenchSetting, in directory: String, hasBoto3: Bool) throws {
        var functions = [
            "light": Self.light, "light-threaded": Self.thread + Self.light, "sleeper": Self.sleeper, "chatty": Self.chatty,
        ]
        if hasBoto3 {
            functions["boto3"] = Self.boto3
            functions["boto3-threaded"] = Self.thread + Self.boto3
        }
        for (name, python) in functions {
            try setting.addFunction(
                name, in: directory, python: python, manifest: "timeout = 60\n[concurrency]\nprovisioned = 0")
        }
        try setting.addFunction("provisioned", in: directory, python: Self.provisioned, manifest: "")
    }

    /// Compiles a bootstrap that speaks the Runtime API; false where there is no compiler.
    private func addBootstrap(_ setting: BenchSetting, in directory: String) throws -> Bool {
        let function = "\(directory)/compiled"
        try FileManager.default.createDirectory(atPath: function, withIntermediateDirectories: true)
        let source = "\(try setting.makeDirectory("source"))/bootstrap.c"
        try Self.bootstrap.write(toFile: source, atomically: false, encoding: .utf8)
        let status = try? Child.run(["cc", "-O2", "-o", "\(function)/bootstrap", source], log: "\(source).log")
        guard status == 0 else {
            try FileManager.default.removeItem(atPath: function)
            return false
        }
        try "runtime = \"provided\"\n[concurrency]\nprovisioned = 0\n".write(
            toFile: "\(function)/function.toml", atomically: false, encoding: .utf8)
        return true
    }

    /// functions/primes, built where it lies; false where that cannot be.
    private func addSwift(in directory: String) throws -> Bool {
        let status = try? Child.run(["sh", "-c", "cd functions/primes && sh build.sh"], log: "\(directory)-swift.log")
        guard status == 0 else { return false }
        try FileManager.default.createDirectory(atPath: "\(directory)/swift", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "functions/primes/bootstrap", toPath: "\(directory)/swift/bootstrap")
        try "runtime = \"swift\"\n[concurrency]\nprovisioned = 0\n".write(
            toFile: "\(directory)/swift/function.toml", atomically: false, encoding: .utf8)
        return true
    }

    private func addNode(in directory: String) throws -> Bool {
        guard (try? Child.run(["node", "-e", "0"], log: "/dev/null")) == 0 else { return false }
        try FileManager.default.createDirectory(atPath: "\(directory)/node", withIntermediateDirectories: true)
        try "exports.handler = async () => 1;\n".write(toFile: "\(directory)/node/index.js", atomically: false, encoding: .utf8)
        try "runtime = \"nodejs\"\nhandler = \"index.handler\"\n[concurrency]\nprovisioned = 0\n".write(
            toFile: "\(directory)/node/function.toml", atomically: false, encoding: .utf8)
        return true
    }

    /// Reads and writes the Runtime API on a raw socket; without one it ends at once.
    private static let bootstrap = #"""
        #define _GNU_SOURCE
        #include <arpa/inet.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <unistd.h>

        static char answer[1 << 16];

        /* Sends a request and reads its answer; returns where the value of the field `name` begins, or NULL. */
        static char *ask(int connection, const char *request, const char *name) {
            size_t length = strlen(request), count = 0;
            if (write(connection, request, length) != (ssize_t)length) exit(1);
            for (;;) {
                ssize_t got = read(connection, answer + count, sizeof answer - 1 - count);
                if (got <= 0) exit(0);
                answer[count += (size_t)got] = 0;
                char *end = strstr(answer, "\r\n\r\n"), *field = strcasestr(answer, "\r\ncontent-length:");
                if (end && (!field || count >= (size_t)(end + 4 - answer) + strtoul(field + 17, NULL, 10))) break;
            }
            char *found = name ? strcasestr(answer, name) : NULL;
            return found ? found + strlen(name) : NULL;
        }

        int main(void) {
            char *api = getenv("AWS_LAMBDA_RUNTIME_API"), *colon = api ? strchr(api, ':') : NULL;
            if (!colon) return 0;
            char request[512];
            *colon = 0;
            struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(colon + 1))};
            inet_pton(AF_INET, api, &address.sin_addr);
            int connection = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) return 1;
            for (;;) {
                char *id = ask(connection, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: hearth\r\n\r\n",
                    "lambda-runtime-aws-request-id:");
                if (!id) return 1;
                while (*id == ' ') id++;
                snprintf(request, sizeof request,
                    "POST /2018-06-01/runtime/invocation/%.*s/response HTTP/1.1\r\nHost: hearth\r\nContent-Length: 1\r\n\r\n1",
                    (int)strcspn(id, "\r"), id);
                ask(connection, request, NULL);
            }
        }
        """#
}
