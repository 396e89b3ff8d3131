// swift-tools-version: 6.2
import PackageDescription

/// The architecture: one row a module, in an order in which arrows only point up. `Tests/Tidy` holds imports to it.
let modules: [Module] = [
    // words
    Module("Base", "clocks, identifiers, limits, byte buffers, counters and histograms", []),
    // perimeter: the only importers of C
    Module("UV", "libuv with Swift ownership: loops, streams, timers, polls", ["Base", "CUV"]),
    Module("Crypto", "digests, HMAC and random bytes over OpenSSL; CRCs", ["Base", "COpenSSL", "CChecksum"]),
    Module("Zstd", "zstd frames over libzstd", ["CZstd"]),
    Module("Archive", "zip packages, written and safely unpacked, over libarchive", ["Base", "CArchive"]),
    // codecs: bytes in, values out
    Module("HTTP", "HTTP/1.1 framing (strict), field semantics, JSON check", ["Base"]),
    Module("RESP", "Redis protocol 2 and 3: requests read, replies written", ["Base"]),
    Module("XML", "S3's documents: XML read strictly, and written", ["Base"]),
    Module("Schedule", "rate, cron and at expressions: when the next tick is", []),
    Module("Config", "runtime.toml and function.toml: read, checked, explained", ["Base", "HTTP", "Schedule", "TOMLKit"]),
    // policy: pure, time is an argument
    Module("Pool", "workers of one version: dispatch, queue, spillover, start, stop", ["Base"]),
    Module("IAM", "access keys and what their policies, and those of buckets, let them do", ["Base", "Crypto"]),
    Module("SigV4", "verifies and signs AWS requests", ["Base", "HTTP", "Crypto", "IAM"]),
    // state
    Module("Cache", "the one shared cache engine: bounded store, TTL wheel, eviction, single flight, tags", ["Base"]),
    Module("DiskCache", "the cache's second level: what is worth keeping, in SQLite", ["Base", "Cache", "GRDB", "GRDBSQLite"]),
    Module("Catalog", "functions, versions, aliases, code, concurrency settings, access keys", ["Base", "Crypto", "GRDB"]),
    Module("Objects", "buckets, objects, multipart uploads, tiers, lifecycle: S3's store", ["Base", "Crypto", "Zstd", "GRDB", "GRDBSQLite"]),
    Module("EventQueue", "asynchronous invocations: durable queue, retries, dead letters", ["Base", "GRDB"]),
    // mechanism
    Module("Client", "signed calls over blocking sockets; S3 transfers, parallel and resumable", ["Base", "Crypto", "HTTP", "XML", "SigV4"]),
    Module("Net", "HTTP connections and listeners over loop streams", ["Base", "UV", "HTTP"]),
    Module("Sandbox", "starts workers; speaks the worker protocols with them", ["Base", "UV", "HTTP", "Net", "CSandbox"]),
    Module(
        "Invoker", "an invocation from admission to answer",
        ["Base", "UV", "Crypto", "Archive", "HTTP", "IAM", "Cache", "Catalog", "Pool", "Sandbox"]),
    Module(
        "AsyncInvoke", "asynchronous events from their queue to workers, and what came of them to destinations",
        ["Base", "UV", "HTTP", "Schedule", "Catalog", "EventQueue", "Sandbox", "Invoker"]),
    // doors: one protocol each, none imports another
    Module(
        "LambdaAPI", "Lambda control plane, Invoke, function URLs",
        [
            "Base", "UV", "Crypto", "Archive", "HTTP", "IAM", "SigV4", "Config", "Catalog", "EventQueue", "Net", "Sandbox", "Invoker",
            "AsyncInvoke",
        ]),
    Module("S3API", "S3 over Objects: requests, documents, access, bodies", ["Base", "UV", "Crypto", "HTTP", "XML", "IAM", "SigV4", "Net", "Objects"]),
    Module(
        "Accelerate", "an edge before a distant S3: uploads in parallel parts, reads through the cache",
        ["Base", "UV", "Crypto", "HTTP", "IAM", "SigV4", "Cache", "Net"]),
    Module(
        "Admin", "metrics, health, logs, Hearth's own calls",
        ["Base", "UV", "Crypto", "HTTP", "IAM", "Cache", "Catalog", "Objects", "EventQueue", "Net", "Invoker", "AsyncInvoke"]),
    Module("CacheAPI", "the key-value face: RESP over Cache", ["Base", "UV", "Crypto", "RESP", "Cache"]),
    // beside: the server does not use them
    Module("HearthFunction", "what a function in Swift links: run { event, context in … }", []),
]

let language: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]
let settings: [SwiftSetting] = language + [
    // Measured on the warm path: run-time exclusivity checks and calls that modules do not inline cost 3 µs a request.
    .unsafeFlags(
        ["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

/// The clients that run inside workers, carried in the executable.
let clients = [
    "python/hearth_worker.py", "python/hearth_imports.py", "python/hearth_zygote.py", "python/hearth_base.py",
    "python/sitecustomize.py", "node/worker.cjs",
]

/// What a new function in Swift begins with, beside its own source.
let templates =
    ["build.sh"]
    + [
        "Channel", "Context", "FunctionURL", "JSON", "JSONDecoding", "JSONDocument", "JSONEncoding", "JSONScalar", "Run",
    ].map { "HearthFunction/\($0).swift" }

/// Test targets and what each may import.
let tests: [(String, [String])] = [
    ("Tidy", []),
    ("Base", ["Base"]),
    ("HTTP", ["Base", "HTTP"]),
    ("RESP", ["Base", "RESP"]),
    ("IAM", ["Base", "IAM"]),
    ("SigV4", ["Base", "IAM", "SigV4"]),
    ("Net", ["Base", "HTTP", "Net", "TestSupport", "UV"]),
    ("S3API", ["Base", "IAM", "Objects", "S3API", "XML"]),
    ("Client", ["Base", "Client", "XML"]),
    ("Archive", ["Archive"]),
    ("Schedule", ["Schedule"]),
    ("Config", ["Config"]),
    ("Catalog", ["Catalog"]),
    ("Objects", ["Base", "Crypto", "Objects"]),
    ("EventQueue", ["Base", "EventQueue"]),
    ("AsyncInvoke", ["AsyncInvoke", "Base", "EventQueue", "TestSupport"]),
    ("Pool", ["Base", "Pool"]),
    ("Invoker", ["Admin", "AsyncInvoke", "Base", "Cache", "Catalog", "Invoker"]),
    ("Conformance", ["Base", "SigV4", "TestSupport"]),
    ("Worker", ["TestSupport"]),
    ("Sandbox", ["TestSupport"]),
    ("Cache", ["Base", "Cache"]),
    ("DiskCache", ["Base", "Cache", "DiskCache"]),
    ("Memo", ["TestSupport"]),
    ("CacheAPI", ["Base", "RESP", "Cache", "CacheAPI"]),
    ("HearthFunction", ["HTTP", "HearthFunction", "TestSupport"]),
]

let package = Package(
    name: "hearth",
    products: [
        .executable(name: "hearth", targets: ["hearth"]),
        .library(name: "HearthFunction", targets: ["HearthFunction"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: modules.map(\.target) + [
        .systemLibrary(name: "CUV", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CChecksum", cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]),
        .target(name: "CSandbox", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        .target(name: "CInit", cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]),
        // Static: it starts in half a millisecond. (The linker driver is Swift's, the program is not.)
        .executableTarget(
            name: "hearth-init", dependencies: ["CInit"], cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])],
            linkerSettings: [.unsafeFlags(["-static-stdlib", "-Xclang-linker", "-static"])]),
        // A shared object, which an interpreter loads: hearth can depend on a program of this package, but on no library of it.
        .executableTarget(
            name: "hearth-base", dependencies: ["CInit", "CSandbox"],
            cSettings: [.unsafeFlags(["-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"])],
            linkerSettings: [
                .unsafeFlags([
                    "-static-stdlib", "-Xclang-linker", "-shared", "-Xclang-linker", "-nostartfiles", "-Xlinker", "--as-needed",
                    "-Xlinker", "--exclude-libs=ALL",
                ])
            ]),
        .executableTarget(
            name: "hearth",
            dependencies: modules.map(\.name).filter { $0 != "HearthFunction" }.map { .init(stringLiteral: $0) } + ["hearth-init", "hearth-base"]
                + [.product(name: "ArgumentParser", package: "swift-argument-parser")],
            // Measured: calls into Swift's libraries without a table between save 1.2 µs an invocation, and 4 MiB of memory.
            // Links to the library and to how it is built: hearth init gives each function in Swift a copy.
            resources: templates.map { .embedInCode("Templates/\($0)") },
            swiftSettings: settings + [.unsafeFlags(["-static-stdlib"], .when(configuration: .release))],
            linkerSettings: [.unsafeFlags(["-static-stdlib"], .when(configuration: .release))]),
        .target(name: "CEpoll", cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]),
        // What a contributor runs: `dev check`, `dev bench`.
        .executableTarget(
            name: "dev",
            dependencies: [
                "Base", "Cache", "CEpoll", "Crypto", "Objects", "SigV4", .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        // Starts the built `hearth` and talks to it; for the tests of the whole.
        .target(name: "TestSupport", dependencies: ["Base", "SigV4"], path: "Tests/Support", swiftSettings: settings),
    ] + tests.map { name, needs in
        .testTarget(
            name: "\(name)Tests", dependencies: needs.map { .init(stringLiteral: $0) }, path: "Tests/\(name)Tests",
            exclude: name == "Conformance" ? ["Clients"] : [], swiftSettings: settings)
    }
)

/// A row of the table above.
struct Module {
    let name: String
    let purpose: String
    let arrows: [String]

    init(_ name: String, _ purpose: String, _ arrows: [String]) {
        self.name = name
        self.purpose = purpose
        self.arrows = arrows
    }

    var target: Target {
        .target(
            name: name,
            dependencies: arrows.map { arrow in
                switch arrow {
                case "GRDB": .product(name: "GRDB", package: "GRDB.swift")
                case "GRDBSQLite": .product(name: "GRDBSQLite", package: "GRDB.swift")
                case "TOMLKit": .product(name: "TOMLKit", package: "TOMLKit")
                default: .init(stringLiteral: arrow)
                }
            },
            resources: name == "Sandbox" ? clients.map { .embedInCode("Runtimes/" + $0) } : [],
            // Packages with unsafe flags cannot be depended on, and this one is a product.
            swiftSettings: name == "HearthFunction" ? language : settings)
    }
}
