internal import Base
internal import Glibc
internal import HTTP
internal import Schedule

/// `function.toml`: one function as its author describes it.
package struct Manifest: Equatable, Sendable {
    package var runtime: String
    package var handler: String
    package var memorySize: Int
    package var timeout: Int
    package var description: String
    /// A shell command that is run in the directory before it is packed.
    package var build: String?
    package var environment: [String: String]
    /// Layers, the last on top: NAME, NAME:VERSION or an ARN.
    package var layers: [String]
    package var provisioned: Int
    package var reserved: Int?
    package var workersMax: Int?
    package var spares: Int
    package var keepAliveSeconds: Int
    package var queue: Int
    package var queueWaitSeconds: Int
    package var recycleInvocations: Int?
    package var recycleGrowth: Int?
    package var recycleTrend: Bool
    package var allowsBackground: Bool
    package var isOffline: Bool
    package var snapStart: Bool
    /// `NAME` or `NAME:rw`
    package var buckets: [String]
    /// JSON, or the path of a file with it, from the function's directory.
    package var policy: String?
    package var memoize: Memoize?

    package var routes: [Route]
    package var objects: [OnObject]
    package var schedules: [OnSchedule]

    /// One `[[on.object]]`
    package struct OnObject: Equatable, Sendable {
        package var bucket: String
        package var events: [String]
        package var prefix: String
        package var suffix: String
    }

    /// One `[[on.schedule]]`
    package struct OnSchedule: Equatable, Sendable {
        /// nil: its place among them.
        package var name: String?
        package var expression: String
        package var timezone: String
        package var input: String?
        package var missed: String
    }

    /// One `[[route]]`
    package struct Route: Equatable, Sendable {
        package var path: String
        package var methods: [String]
        package var ttl: Int
        package var key: [String]
        package var identity: String
        package var unauthorized: String
    }

    /// `[memoize]`
    package struct Memoize: Equatable, Sendable {
        package var ttl: Int
        package var key: String
        package var identity: String
        package var errors: Int?
        package var staleWhileRevalidate: Int?
        package var maxBytes: Int?
        package var audit: Double?
    }

    package static let keys: [ConfigKey] = [
        ConfigKey("runtime", .text(default: nil), "python3, python3.N, nodejs, nodejsN.x, swift, provided or provided.NAME."),
        ConfigKey("handler", .text(default: nil), "file.function; not needed for swift and provided runtimes."),
        ConfigKey("memory_size", .number(128...10_240, default: 128), unit: "MB", "Memory of one worker."),
        ConfigKey("timeout", .number(1...900, default: 3), unit: "seconds", "An invocation that takes longer is ended."),
        ConfigKey("description", .text(default: ""), "For people."),
        ConfigKey("build", .text(default: nil), "A shell command run in the directory before it is packed."),
        ConfigKey("environment", .texts, "Environment variables; together 4 KB at the most."),
        ConfigKey("layers", .list(default: []), "Layers shown as /opt, the last on top: NAME (its newest version), NAME:VERSION or an ARN."),
        ConfigKey(
            "concurrency.provisioned", .number(0...1000, default: 1), unit: "workers",
            "Workers kept initialised before anything asks."),
        ConfigKey(
            "concurrency.reserved", .number(0...10_000, default: nil), unit: "invocations",
            "Ceiling and guarantee of invocations at a time; 0 turns the function off."),
        ConfigKey(
            "concurrency.max", .number(1...1000, default: nil), unit: "workers", "Most workers of one version."),
        ConfigKey(
            "concurrency.spares", .number(0...100, default: 0), unit: "workers",
            "Workers started ahead, beside those that serve, while it is called."),
        ConfigKey(
            "concurrency.keep_alive", .number(1...86_400, default: 600), unit: "seconds",
            "How long an idle on-demand worker stays."),
        ConfigKey(
            "concurrency.queue", .number(1...100_000, default: 1000), unit: "invocations",
            "Invocations that may wait for a worker; more are refused with 429."),
        ConfigKey(
            "concurrency.queue_wait", .number(1...900, default: 10), unit: "seconds",
            "How long an invocation may wait for a worker."),
        ConfigKey(
            "recycle.invocations", .number(1...1_000_000_000, default: nil), unit: "invocations",
            "A worker is replaced after this many."),
        ConfigKey(
            "recycle.growth", .number(1...10_240, default: nil), unit: "MB",
            "A worker is replaced when it has grown by this much since it was ready."),
        ConfigKey(
            "recycle.trend", .text(default: "off"), "on: a worker that grows steadily is replaced before its memory ends."),
        ConfigKey(
            "background", .text(default: "frozen"),
            "frozen: a worker is stopped between invocations, as in Lambda; allowed: it may run on."),
        ConfigKey(
            "snap_start", .text(default: "off"),
            "on: workers of a provided runtime are forked once awslambdaric (Python) has initialised."),
        ConfigKey(
            "buckets", .list(default: []),
            "Buckets of this Hearth that the function may read, as \"inbox\", or read and write, as \"counts:rw\"."),
        ConfigKey(
            "policy", .text(default: nil),
            "What else its key lets it do: an AWS policy in JSON, or the file with one. Without buckets and policy it may do nothing."),
        ConfigKey(
            "network", .text(default: "host"), "host: the machine's; none: a network of its own with nobody in it."),
        ConfigKey(
            "memoize.ttl", .number(0...31_536_000, default: nil), unit: "seconds",
            "How long a result answers equal invocations; 0: as long as the answer's own Cache-Control says."),
        ConfigKey(
            "memoize.key", .text(default: "raw"),
            "What of the event makes invocations equal: raw, jcs (the JSON's meaning) or jmespath:EXPRESSION."),
        ConfigKey(
            "memoize.identity", .text(default: "caller"),
            "What of a function URL's caller does: caller (Authorization and Cookie), none, or the name of a header."),
        ConfigKey(
            "memoize.errors", .number(0...3600, default: nil), unit: "seconds",
            "How long the handler's own errors are kept; without it they are not."),
        ConfigKey(
            "memoize.stale_while_revalidate", .number(0...31_536_000, default: 0), unit: "seconds",
            "How long after its ttl a result still answers while one invocation makes the new one."),
        ConfigKey("memoize.max_bytes", .number(1...6_291_556, default: nil), unit: "bytes", "A larger result is not kept."),
        ConfigKey(
            "memoize.audit", .share(default: 0),
            "Share of the answers from store that are run again and compared; a difference switches memoization off."),
        ConfigKey(
            "route.path", .text(default: nil),
            "Paths behind the function's name whose responses are cached: /items, /items/{id}, /items/*. The first route that fits counts."),
        ConfigKey("route.methods", .list(default: ["GET"]), "Methods that are cached; of others than GET and HEAD the body is part of the key."),
        ConfigKey("route.ttl", .number(0...3600, default: 300), unit: "seconds", "How long a response with a status of 2xx is good; 0: none is cached."),
        ConfigKey(
            "route.key", .list(default: ["path", "query"]),
            "What makes requests equal: path, path.NAME of a {NAME}, query, query.NAME, header.NAME."),
        ConfigKey(
            "route.identity", .text(default: "caller"),
            "caller: who sends another Authorization or Cookie gets another response; none: all share it."),
        ConfigKey(
            "route.unauthorized", .text(default: "ignore_with_warning"),
            "Cache-Control: max-age=0 that is not signed with the node's credentials: fail (403), ignore_with_warning or ignore."),
        ConfigKey("on.object.bucket", .text(default: nil), "A bucket whose changes the function is told of; it is made if it is not there."),
        ConfigKey(
            "on.object.events", .list(default: ["ObjectCreated:*"]),
            "Of which changes: ObjectCreated:* or Put, Post, Copy, CompleteMultipartUpload of it; ObjectRemoved:* or Delete, DeleteMarkerCreated of it."),
        ConfigKey("on.object.prefix", .text(default: ""), "Only of objects whose keys begin so."),
        ConfigKey("on.object.suffix", .text(default: ""), "Only of objects whose keys end so."),
        ConfigKey(
            "on.schedule.expression", .text(default: nil),
            "When the function is invoked: rate(5 minutes), cron(0 8 ? * MON-FRI *) or at(2027-01-01T09:30:00), as in EventBridge Scheduler."),
        ConfigKey("on.schedule.timezone", .text(default: "UTC"), "On whose clocks: a name of the time zone database, as Europe/Berlin."),
        ConfigKey("on.schedule.input", .text(default: nil), "JSON that is the event, in the place of the scheduler's own."),
        ConfigKey(
            "on.schedule.missed", .text(default: "once"),
            "What becomes of ticks while Hearth was down: once (one is made up for at the next start, however many there were) or skip."),
        ConfigKey("on.schedule.name", .text(default: nil), "Its name in lists and in its ARN; without one, its place among the schedules: 1, 2."),
    ]

    /// Names that belong to the runtime (AWS Lambda developer guide, "Defined runtime environment variables").
    private static let reservedNames: Set<String> = [
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
    ]

    package static func isReserved(environmentName: String) -> Bool { reservedNames.contains(environmentName) }

    /// - Parameter name: of the file, for messages.
    package init(_ text: String, name: String, detected: (runtime: String, handler: String)? = nil) throws(ConfigError) {
        let file = try ConfigFile(text, name: name, keys: Self.keys)
        guard let runtime = file.text("runtime") ?? detected?.runtime else {
            throw ConfigError(file: name, line: nil, sentence: "runtime is missing: write for example runtime = \"python3\"")
        }
        guard Self.isKnown(runtime: runtime) else {
            throw file.fail(
                "runtime",
                "runtime = \"\(runtime)\" is not known: use python3, python3.N, nodejs, nodejsN.x, swift, provided or provided.NAME")
        }
        self.runtime = runtime
        let handler = file.text("handler") ?? (file.text("runtime") == nil || detected?.runtime == runtime ? detected?.handler : nil)
        guard let handler = handler ?? (Self.isProgram(runtime: runtime) ? "bootstrap" : nil) else {
            throw ConfigError(file: name, line: nil, sentence: "handler is missing: write for example handler = \"app.handler\"")
        }
        guard Self.isProgram(runtime: runtime) || (handler.contains(".") && !handler.hasPrefix(".") && !handler.hasSuffix(".")) else {
            throw file.fail("handler", "handler = \"\(handler)\" is not of the form file.function")
        }
        self.handler = handler
        memorySize = file.number("memory_size") ?? 128
        timeout = file.number("timeout") ?? 3
        description = file.text("description") ?? ""
        build = file.text("build")
        environment = file.table("environment")
        layers = file.list("layers") ?? []
        // A function that is switched off keeps no worker.
        provisioned = file.number("concurrency.provisioned") ?? min(1, file.number("concurrency.reserved") ?? 1)
        reserved = file.number("concurrency.reserved")
        workersMax = file.number("concurrency.max")
        spares = file.number("concurrency.spares") ?? 0
        keepAliveSeconds = file.number("concurrency.keep_alive") ?? 600
        queue = file.number("concurrency.queue") ?? 1000
        queueWaitSeconds = file.number("concurrency.queue_wait") ?? 10
        recycleInvocations = file.number("recycle.invocations")
        recycleGrowth = file.number("recycle.growth")
        recycleTrend = try file.choice("recycle.trend", ["off", "on"]) == "on"
        allowsBackground = try file.choice("background", ["frozen", "allowed"]) == "allowed"
        snapStart = try file.choice("snap_start", ["off", "on"]) == "on"
        isOffline = try file.choice("network", ["host", "none"]) == "none"
        buckets = file.list("buckets") ?? []
        if let bucket = buckets.first(where: { !Self.isBucketGrant($0) }) {
            throw file.fail("buckets", "buckets: \"\(bucket)\" is neither the name of a bucket (to be read) nor NAME:rw (to be written too)")
        }
        policy = file.text("policy")
        memoize = try Self.memoize(file)
        for table in ["route", "on.object", "on.schedule"] {
            guard let given = Self.keys.first(where: { $0.path.hasPrefix(table + ".") && file.has($0.path) }) else { continue }
            throw file.fail(given.path, "[\(table)] must be written [[\(table)]]: there may be several")
        }
        routes = []
        for element in file.elements("route") { routes.append(try Self.route(element)) }
        (objects, schedules) = ([], [])
        for element in file.elements("on.object") { objects.append(try Self.onObject(element)) }
        for element in file.elements("on.schedule") { schedules.append(try Self.onSchedule(element)) }
        let names = schedules.enumerated().map { $1.name ?? "\($0 + 1)" }
        guard Set(names).count == names.count else { throw file.fail("on.schedule.name", "on.schedule.name must differ from schedule to schedule") }
        try check(file)
    }

    private static func onObject(_ file: ConfigFile) throws(ConfigError) -> OnObject {
        guard let bucket = file.text("on.object.bucket") else {
            throw file.fail("on.object.bucket", "on.object.bucket is missing: write for example bucket = \"inbox\"")
        }
        let events = file.list("on.object.events") ?? ["ObjectCreated:*"]
        if let unknown = events.first(where: { !objectEvents.contains($0) }) {
            throw file.fail("on.object.events", "on.object.events has \(unknown): use \(objectEvents.joined(separator: ", "))")
        }
        guard !events.isEmpty else { throw file.fail("on.object.events", "on.object.events is empty: leave it away, or name some") }
        return OnObject(bucket: bucket, events: events, prefix: file.text("on.object.prefix") ?? "", suffix: file.text("on.object.suffix") ?? "")
    }

    private static let objectEvents = [
        "ObjectCreated:*", "ObjectCreated:Put", "ObjectCreated:Post", "ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:*", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated",
    ]

    private static func onSchedule(_ file: ConfigFile) throws(ConfigError) -> OnSchedule {
        guard let expression = file.text("on.schedule.expression") else {
            throw file.fail("on.schedule.expression", "on.schedule.expression is missing: write for example expression = \"rate(1 hour)\"")
        }
        let timezone = file.text("on.schedule.timezone") ?? "UTC"
        do throws(ScheduleError) { _ = try Schedule(expression, zone: timezone) } catch {
            throw file.fail("on.schedule.expression", "on.schedule.expression = \"\(expression)\" \(error)")
        }
        let name = file.text("on.schedule.name"), input = file.text("on.schedule.input")
        if let name, !isName(name) { throw file.fail("on.schedule.name", "on.schedule.name = \"\(name)\" must be letters, digits, - and _") }
        if let input, Array(input.utf8).withUnsafeBytes({ JSONCheck.validate($0) }) != nil {
            throw file.fail("on.schedule.input", "on.schedule.input is no JSON: write for example input = '{\"job\":\"report\"}'")
        }
        return OnSchedule(
            name: name, expression: expression, timezone: timezone, input: input,
            missed: try file.choice("on.schedule.missed", ["once", "skip"]))
    }

    private static func memoize(_ file: ConfigFile) throws(ConfigError) -> Memoize? {
        guard let ttl = file.number("memoize.ttl") else {
            let given = keys.first { $0.path.hasPrefix("memoize.") && file.has($0.path) }
            if let given { throw file.fail(given.path, "memoize.ttl is missing: say for how many seconds a result is good") }
            return nil
        }
        let key = file.text("memoize.key") ?? "raw"
        do throws(EventForm.Unknown) { _ = try EventForm(key) } catch { throw file.fail("memoize.key", "memoize.key = \(error)") }
        let identity = file.text("memoize.identity") ?? "caller"
        guard isToken(identity) else {
            throw file.fail("memoize.identity", "memoize.identity = \"\(identity)\" is not known: use caller, none or the name of a header")
        }
        return Memoize(
            ttl: ttl, key: key, identity: identity, errors: file.number("memoize.errors"),
            staleWhileRevalidate: file.number("memoize.stale_while_revalidate"), maxBytes: file.number("memoize.max_bytes"),
            audit: file.share("memoize.audit"))
    }

    private static func route(_ file: ConfigFile) throws(ConfigError) -> Route {
        guard let path = file.text("route.path") else {
            throw file.fail("route.path", "route.path is missing: write for example path = \"/items/*\"")
        }
        let route = Route(
            path: path, methods: file.list("route.methods") ?? ["GET"], ttl: file.number("route.ttl") ?? 300,
            key: file.list("route.key") ?? ["path", "query"], identity: try file.choice("route.identity", ["caller", "none"]),
            unauthorized: try file.choice("route.unauthorized", ["ignore_with_warning", "fail", "ignore"]))
        let pattern: RoutePattern
        do throws(RoutePattern.Fault) { pattern = try RoutePattern(path) } catch {
            throw file.fail("route.path", "route.path = \"\(path)\" \(error)")
        }
        for part in route.key {
            do throws(RoutePattern.Fault) { _ = try RouteKeyPart(part, of: pattern) } catch { throw file.fail("route.key", "route.key \(error)") }
        }
        guard !route.methods.isEmpty, route.methods.allSatisfy({ isToken($0) && $0 == $0.uppercased() }) else {
            throw file.fail("route.methods", "route.methods must be methods in capitals: [\"GET\"]")
        }
        return route
    }

    private func check(_ file: ConfigFile) throws(ConfigError) {
        if let reserved, provisioned > reserved {
            throw file.fail(
                "concurrency.reserved",
                "concurrency.reserved = \(reserved) is less than concurrency.provisioned = \(provisioned): it must be at least that")
        }
        if let workersMax, provisioned > workersMax {
            throw file.fail(
                "concurrency.max",
                "concurrency.max = \(workersMax) is less than concurrency.provisioned = \(provisioned): it must be at least that")
        }
        guard layers.count <= 5 else { throw file.fail("layers", "layers names \(layers.count) layers: there may be 5") }
        var bytes = 2
        for (name, value) in environment {
            let path = "environment.\(name)"
            guard name.first.map({ $0.isASCII && $0.isLetter }) == true,
                name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
            else { throw file.fail(path, "\(name) is not a name of an environment variable: letters, digits and _ only") }
            guard !Self.isReserved(environmentName: name) else {
                throw file.fail(path, "\(name) is set by the runtime: choose another name")
            }
            guard !value.utf8.contains(0) else { throw file.fail(path, "\(path) holds a NUL byte") }
            bytes += name.utf8.count + value.utf8.count + 6
        }
        guard bytes <= Limits.environmentBytesMax else {
            throw file.fail("environment", "the environment is larger than \(Limits.environmentBytesMax) bytes")
        }
    }

    package static func isKnown(runtime: String) -> Bool {
        if ["python3", "nodejs", "swift", "provided"].contains(runtime) { return true }
        if runtime.hasPrefix("python3."), let minor = Int(runtime.dropFirst(8)) { return minor >= 8 }
        if runtime.hasPrefix("nodejs"), runtime.hasSuffix(".x"), Int(runtime.dropFirst(6).dropLast(2)) != nil { return true }
        return runtime.hasPrefix("provided.") && runtime.count > 9 && runtime.dropFirst(9).allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
    }

    /// Does the package bring its own program, `bootstrap`?
    ///
    /// `swift` is Hearth's own name: a program that links HearthFunction. Those of `provided` speak the Runtime API.
    package static func isProgram(runtime: String) -> Bool { runtime == "swift" || runtime.hasPrefix("provided") }

    /// What a directory without a manifest is likely to be: by the names of its files.
    package static func detect(directory: String) -> (runtime: String, handler: String)? {
        if access("\(directory)/bootstrap", X_OK) == 0 { return ("provided", "bootstrap") }
        for name in ["app", "main", "handler", "lambda_function"] where access("\(directory)/\(name).py", R_OK) == 0 {
            return ("python3", name == "lambda_function" ? "lambda_function.lambda_handler" : "\(name).handler")
        }
        for name in ["index", "app", "handler"] {
            for ending in ["js", "mjs", "cjs"] where access("\(directory)/\(name).\(ending)", R_OK) == 0 {
                return ("nodejs", "\(name).handler")
            }
        }
        return nil
    }

    /// A bucket's name as S3 has them, with or without `:rw` behind it.
    package static func isBucketGrant(_ text: String) -> Bool {
        let name = text.hasSuffix(":rw") ? text.dropLast(3) : text[...]
        func isPlain(_ byte: UInt8?) -> Bool { byte.map { (97...122).contains($0) || (48...57).contains($0) } ?? false }
        return (3...63).contains(name.utf8.count) && isPlain(name.utf8.first) && isPlain(name.utf8.last)
            && name.utf8.allSatisfy { isPlain($0) || $0 == 45 || $0 == 46 }
    }

    /// A function's name: 1 to 64 of letters, digits, `-` and `_` (Lambda's pattern).
    package static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                let isLetter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
                return isLetter || (byte >= 48 && byte <= 57) || byte == 45 || byte == 95
            }
    }
}
