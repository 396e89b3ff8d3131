import Base
import Foundation
import Objects

/// The object store over HTTP, as S3's clients reach it: beside fsynced files, bare SQLite and nginx; pages of a large bucket, memory
/// under many uploads.
///
/// The requests are signed, bodies are not (`UNSIGNED-PAYLOAD`): MD5 and CRC-64 of each are made by the server.
struct ObjectsBench: Bench {
    let name = "objects"
    let purpose = "durable PUTs beside fsynced files and bare SQLite, GETs beside nginx, list pages of a million objects, memory"
    private let largeBytes = 8 << 20
    private let largeCount = 48
    private let smallCount = 12_000

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let server = try start(setting)
        defer { server.child.stop() }
        let requests = try ObjectRequests(server)
        try requests.call("PUT", "/bench")
        setting.waitForQuiet()
        let directory = try setting.makeDirectory("objects")
        var figures = try large(setting, requests, directory)
        figures += try small(setting, requests, directory)
        figures += try reads(setting, server, requests, directory)
        figures += try memory(setting)
        figures += try lists(setting)
        return figures
    }

    private func start(_ setting: BenchSetting, data: String? = nil) throws -> HearthServer {
        try HearthServer(setting, functions: try setting.makeDirectory("no-functions"), .api, data: data)
    }

    /// The median of each side over the rounds, each side first in turn.
    private func compare(_ setting: BenchSetting, _ sides: [(String, () throws -> Double)]) throws -> [Double] {
        var values = sides.map { _ in [Double]() }
        for round in 1...setting.rounds {
            for index in round % 2 == 0 ? Array(sides.indices.reversed()) : Array(sides.indices) {
                values[index].append(try sides[index].1())
                note("  round \(round), \(sides[index].0): \(number(values[index].last ?? 0))")
            }
        }
        return values.map(\.p50)
    }

    private func paths(_ prefix: String, _ count: Int) -> [String] { (0..<count).map { "/bench/\(prefix)/\($0)" } }

    // MARK: PUT

    private func large(_ setting: BenchSetting, _ requests: ObjectRequests, _ directory: String) throws -> [Figure] {
        let body = [UInt8](randomOf: largeBytes)
        let megabytes = Double(largeCount * largeBytes) / 1e6
        let files = FilesUnderTest(directory + "/large")
        let found = try compare(setting, [
            ("PUT 8 MiB, MB/s", { megabytes / (try BodyLoad.put(requests, paths("large", largeCount), connections: 4, body: body)) }),
            ("files, hashed", { megabytes / files.put(count: largeCount, threads: 4, body: body, isHashed: true) }),
            ("files", { megabytes / files.put(count: largeCount, threads: 4, body: body, isHashed: false) }),
        ])
        let name = "objects: PUT 8 MiB, 4 connections"
        return [
            Figure(name: name, unit: "MB/s", hearth: found[0], peer: ("fsynced files, hashed", found[1]), goal: .atLeastTimes(0.7)),
            Figure(name: name, unit: "MB/s", hearth: found[0], peer: ("fsynced files", found[2]), goal: .none),
        ]
    }

    private func small(_ setting: BenchSetting, _ requests: ObjectRequests, _ directory: String) throws -> [Figure] {
        let (kilobyte, page) = ([UInt8](randomOf: 1024), [UInt8](randomOf: 4096))
        let files = FilesUnderTest(directory + "/small")
        let raw = try RawRows(directory + "/raw.sqlite")
        let engine = try StoreUnderTest(directory + "/store")
        defer { engine.store.close() }
        func rate(_ prefix: String, _ body: [UInt8], connections: Int, count: Int) throws -> Double {
            let all = paths(prefix, count).map { requests.head("PUT", $0, bodyBytes: body.count) + body }
            return Double(count) / (try ObjectLoad.run(port: requests.port, all, connections: connections).seconds)
        }
        let one = try compare(setting, [
            ("PUT 1 KiB, 1/s", { try rate("small", kilobyte, connections: 64, count: smallCount) }),
            ("files", { 1500 / files.put(count: 1500, threads: 64, body: kilobyte, isHashed: true) }),
        ])
        let four = try compare(setting, [
            ("PUT 4 KiB, 1/s", { try rate("page", page, connections: 64, count: smallCount) }),
            ("bare SQLite", { Double(smallCount) / raw.insert(count: smallCount, group: 64, body: page) }),
            (
                "the store without HTTP",
                { Double(smallCount) / (try engine.put(count: smallCount, connections: 64, body: page, prefix: "page")) }
            ),
        ])
        let alone = try rate("alone", page, connections: 1, count: 500)
        return [
            Figure(
                name: "objects: PUT 1 KiB, 64 connections", unit: "1/s", hearth: one[0], peer: ("fsynced files", one[1]),
                goal: .atLeastTimes(5)),
            Figure(
                name: "objects: PUT 4 KiB, 64 connections", unit: "1/s", hearth: four[0], peer: ("bare SQLite", four[1]),
                goal: .atLeastTimes(0.7)),
            Figure(
                name: "objects: PUT 4 KiB, 64 at a time, without HTTP", unit: "1/s", hearth: four[2], peer: ("bare SQLite", four[1]),
                goal: .none),
            Figure(name: "objects: PUT 4 KiB, one connection", unit: "1/s", hearth: alone, goal: .none),
        ]
    }

    // MARK: GET

    /// Beside nginx that serves the same files.
    private func reads(
        _ setting: BenchSetting, _ server: HearthServer, _ requests: ObjectRequests, _ directory: String
    ) throws -> [Figure] {
        let page = [UInt8](randomOf: 4096)
        _ = FilesUnderTest(directory + "/page").put(count: 256, threads: 4, body: page, isHashed: false)
        let nginx = try Peer.nginxFiles(directory).start(setting)
        defer { nginx?.child.stop() }
        return try read(setting, server, requests, nginx, "large", "8 MiB", count: largeCount * 4, connections: 4, files: largeCount)
            + read(setting, server, requests, nginx, "page", "4 KiB", count: 20_000, connections: 16, files: 256)
    }

    private func read(
        _ setting: BenchSetting, _ server: HearthServer, _ requests: ObjectRequests, _ nginx: PeerServer?, _ prefix: String,
        _ size: String, count: Int, connections: Int, files: Int
    ) throws -> [Figure] {
        let own = (0..<files).map { requests.head("GET", "/bench/\(prefix)/\($0)") }
        var cpu: [String: [Double]] = [:]
        func rate(_ name: String, _ child: Child, _ port: UInt16, _ heads: [[UInt8]]) throws -> Double {
            let before = ProcessTree(root: child.pid)
            let seconds = try ObjectLoad.run(port: port, (0..<count).map { heads[$0 % heads.count] }, connections: connections).seconds
            cpu[name, default: []].append(ProcessTree(root: child.pid).cpuMicroseconds(since: before) / Double(count))
            return Double(count) / seconds
        }
        var sides = [("GET \(size), 1/s", { try rate("own", server.child, requests.port, own) })]
        if let nginx {
            let theirs = (0..<files).map { ObjectRequests.plain("/\(prefix)/\($0)", port: nginx.target.port) }
            sides.append(("nginx", { try rate("nginx", nginx.child, nginx.target.port, theirs) }))
        }
        let found = try compare(setting, sides)
        let name = "objects: GET \(size), \(connections) connections"
        return [
            Figure(
                name: name, unit: "1/s", hearth: found[0], peer: ("nginx", found.count > 1 ? found[1] : nil), goal: .atLeastTimes(0.7)),
            Figure(name: "\(name), CPU", unit: "µs", hearth: cpu["own"]?.p50 ?? 0, peer: ("nginx", cpu["nginx"]?.p50), goal: .none),
        ]
    }

    // MARK: Many uploads, many objects

    /// The greatest resident memory that the server ever had.
    private func memory(_ setting: BenchSetting) throws -> [Figure] {
        let server = try start(setting)
        defer { server.child.stop() }
        let requests = try ObjectRequests(server)
        try requests.call("PUT", "/bench")
        let body = [UInt8](randomOf: 64 << 20)
        let seconds = try BodyLoad.put(requests, paths("many", 64), connections: 64, body: body)
        note("  64 uploads of 64 MiB took \(number(seconds)) s")
        let most = ProcessTree.peakMiB(of: server.child.pid) * 1.048576
        try? FileManager.default.removeItem(atPath: server.data + "/objects")
        return [Figure(name: "objects: memory during 64 uploads of 64 MiB", unit: "MB", hearth: most, goal: .atMost(150))]
    }

    private func lists(_ setting: BenchSetting) throws -> [Figure] {
        let count = 1_000_000
        let first = try start(setting)
        try ObjectRequests(first).call("PUT", "/bench")
        first.child.stop()
        note("  putting \(count) objects")
        let store = try StoreUnderTest(first.data + "/objects")
        let seconds = try store.put(count: count, connections: 512, body: [1], prefix: "many", directories: 1000)
        store.store.close()
        let server = try start(setting, data: first.data)
        defer { server.child.stop() }
        let requests = try ObjectRequests(server)
        func page(_ query: String) -> [UInt8] { requests.head("GET", "/bench", query: "list-type=2&\(query)") }
        /// A key, or the folder that it lies in.
        func after(_ length: Int) -> String {
            let key = StoreUnderTest.key("many", .random(in: 0..<count), directories: 1000).prefix(length)
            return String(decoding: key, as: UTF8.self).replacingOccurrences(of: "/", with: "%2F")
        }
        let pages = (0..<400).map { _ in page("start-after=\(after(.max))") }
        let folders = (0..<400).map { _ in page("delimiter=%2F&prefix=many%2F&start-after=\(after("many/00000/".utf8.count))") }
        // The statements and the cache of pages are there once; what grows after that would grow with each page.
        _ = try ObjectLoad.run(port: requests.port, Array(pages.prefix(100)) + folders.prefix(100), connections: 1)
        let before = ProcessTree.residentMiB(of: server.child.pid)
        let plain = try ObjectLoad.run(port: requests.port, pages, connections: 1).latencies
        let delimited = try ObjectLoad.run(port: requests.port, folders, connections: 1).latencies
        let grown = ProcessTree.residentMiB(of: server.child.pid) - before
        return [
            Figure(name: "objects: PUT of 1,000,000 objects, without HTTP", unit: "1/s", hearth: Double(count) / seconds, goal: .none),
            Figure(name: "objects: page of 1,000 keys of 1,000,000, p50", unit: "ms", hearth: plain.p50 / 1000, goal: .none),
            Figure(name: "objects: page of 1,000 keys of 1,000,000, p99", unit: "ms", hearth: plain.p99 / 1000, goal: .atMost(20)),
            Figure(name: "objects: page of common prefixes, p99", unit: "ms", hearth: delimited.p99 / 1000, goal: .atMost(20)),
            Figure(name: "objects: memory of the server with 1,000,000 objects", unit: "MiB", hearth: before, goal: .none),
            Figure(name: "objects: memory that 800 pages added", unit: "MiB", hearth: grown, goal: .atMost(8)),
        ]
    }
}

extension [UInt8] {
    init(randomOf count: Int) {
        var random = Random(seed: UInt64(count))
        self = (0..<count / 8).flatMap { _ in Swift.withUnsafeBytes(of: random.next()) { Array($0) } }
    }
}
