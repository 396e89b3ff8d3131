/// What a version is beside its code: immutable once the version exists.
package struct FunctionSettings: Codable, Equatable, Sendable {
    /// Lambda's identifier: `python3.12`, `nodejs20.x`, `provided.al2023`.
    package var runtime: String
    /// `module.function`; not read for `provided`.
    package var handler: String
    /// Megabytes.
    package var memorySize = 128
    /// Seconds.
    package var timeout = 3
    package var environment: [String: String] = [:]
    package var description = ""
    package var role = "arn:aws:iam::000000000000:role/hearth"
    package var architectures = ["x86_64"]
    /// Megabytes of `/tmp`.
    package var ephemeralStorage = 512
    package var concurrency = Concurrency()
    /// Lambda's SnapStart for published versions: the client is forked where it is known to bear that.
    package var snapStart: Bool?
    /// Layers in their order, the last on top; nil: none.
    package var layers: [LayerReference]?
    /// `Mode` of TracingConfig, and LoggingConfig: kept and returned; nil: Lambda's defaults.
    package var tracing: String?
    package var logging: Logging?
    /// ARN of what gets the events of failed asynchronous invocations (DeadLetterConfig).
    package var deadLetter: String?
    /// What its workers' key lets them do; nil: nothing.
    package var access: Access?
    /// `[memoize]` of function.toml; nil: every invocation runs.
    package var memoize: Memoize?
    /// `[[route]]` of function.toml, in their order; nil: none.
    package var routes: [Route]?

    /// LoggingConfig.
    package struct Logging: Codable, Equatable, Sendable {
        package var format: String?
        package var group: String?
        package var applicationLevel: String?
        package var systemLevel: String?

        package init() {}
    }

    /// How the responses to some of a function URL's requests are cached, in the manner of API Gateway.
    package struct Route: Codable, Equatable, Sendable {
        package var path: String
        package var methods: [String]
        /// Seconds, 0 to 3600; 0: not cached.
        package var ttl: Int
        /// What of a request makes two of them equal: path, path.NAME, query, query.NAME, header.NAME.
        package var key: [String]
        /// `caller`: what is answered to one is not answered to another; `none`: to all.
        package var identity: String
        /// What becomes of `Cache-Control: max-age=0` from somebody who has not signed: fail, ignore_with_warning, ignore.
        package var unauthorized: String

        package init(path: String, methods: [String], ttl: Int, key: [String], identity: String, unauthorized: String) {
            self.path = path
            self.methods = methods
            self.ttl = ttl
            self.key = key
            self.identity = identity
            self.unauthorized = unauthorized
        }
    }

    /// How results are kept to answer equal invocations.
    package struct Memoize: Codable, Equatable, Sendable {
        /// Seconds; 0: only what the function's own answer says.
        package var ttl: Int
        /// What of the event makes two invocations equal: `raw`, `jcs` or `jmespath:EXPRESSION`.
        package var key = "raw"
        /// What of the caller does: `none`, `caller` or the name of a request header.
        package var identity = "caller"
        /// Seconds for which the handler's own errors are kept; nil: they are not.
        package var errors: Int?
        /// Seconds after `ttl` in which the old result is served while one invocation makes the new one.
        package var staleWhileRevalidate: Int?
        /// A larger result is not kept.
        package var maxBytes: Int?
        /// Share of the answers from store that are run again to compare.
        package var audit: Double?

        package init(ttl: Int) { self.ttl = ttl }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            ttl = try values.decode(Int.self, forKey: .ttl)
            key = try values.decodeIfPresent(String.self, forKey: .key) ?? "raw"
            identity = try values.decodeIfPresent(String.self, forKey: .identity) ?? "caller"
            errors = try values.decodeIfPresent(Int.self, forKey: .errors)
            staleWhileRevalidate = try values.decodeIfPresent(Int.self, forKey: .staleWhileRevalidate)
            maxBytes = try values.decodeIfPresent(Int.self, forKey: .maxBytes)
            audit = try values.decodeIfPresent(Double.self, forKey: .audit)
        }
    }

    /// `buckets` and `policy` of function.toml.
    package struct Access: Codable, Equatable, Sendable {
        /// `NAME` to read, `NAME:rw` to write too.
        package var buckets: [String]?
        /// An identity-based policy in JSON.
        package var policy: String?

        package init(buckets: [String]?, policy: String?) {
            self.buckets = buckets
            self.policy = policy
        }
    }

    /// What Lambda has no field for.
    package struct Concurrency: Codable, Equatable, Sendable {
        /// Most workers of one version; nil: the node's limit.
        package var max: Int?
        /// Seconds that an idle on-demand worker stays.
        package var keepAliveSeconds = 600
        /// Invocations that may wait for a worker.
        package var queue = 1000
        /// Seconds that one may wait.
        package var queueWaitSeconds = 10
        // Optional, so that what an older Hearth has stored can be read.
        /// While it is called, so many workers are idle or starting beside those that serve.
        package var spares: Int?
        /// Invocations after which a worker is replaced.
        package var recycleInvocations: Int?
        /// Megabytes of growth after which a worker is replaced.
        package var recycleGrowth: Int?
        /// Is a worker replaced when it grows steadily towards its memory?
        package var recycleTrend: Bool?
        /// May a worker run on after its answer? If not it is stopped until the next invocation, as in Lambda.
        package var allowsBackground: Bool?
        /// A network of its own, with nobody in it?
        package var isOffline: Bool?

        package init() {}
    }

    package init(runtime: String, handler: String) {
        self.runtime = runtime
        self.handler = handler
    }
}
